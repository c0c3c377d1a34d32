// Builds the sources into one ES module. `node build.mjs [FILE]`; without FILE into workbench/widgets/static/annotator.js.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("src/main.js")],
  outfile: process.argv[2] ?? here("../workbench/widgets/static/annotator.js"),
  absWorkingDir: here("."),
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  loader: { ".css": "text" },
  legalComments: "none",
  footer: { js: "//# sourceURL=workbench-annotator.js" }, // named in errors, which the widget shows in words
  banner: { js: "// Built from js/src by `npm run build` in js/. Do not edit." },
});
