// Runs the built annotator on the stand-in kernel; options in the address, handles for tests in `window.harness`.

import { Kernel, Model } from "./kernel.js";

const asked = new URLSearchParams(location.search);
const number = (name, otherwise) => Number(asked.get(name) ?? otherwise);
const options = {
  count: number("count", 60),
  width: number("width", 1200),
  height: number("height", 900),
  images: number("images", 3),
  delay: number("delay", 10),
  live_ms: number("live_ms", 20),
  mode: asked.get("mode") ?? "review",
  held: asked.has("held") ? number("held", 0) : null,
  coverage: asked.has("coverage"),
  overlap: asked.has("overlap"),
  live_error: asked.has("live_error"),
};
if (asked.get("theme") === "dark") {
  document.body.dataset.jpThemeLight = "false";
  const dark = { "--jp-layout-color1": "#111111", "--jp-layout-color2": "#212121", "--jp-border-color2": "#424242", "--jp-ui-font-color1": "#ffffffde", "--jp-ui-font-color2": "#ffffff99", "--jp-brand-color1": "#42a5f5" };
  for (const [name, value] of Object.entries(dark)) document.documentElement.style.setProperty(name, value);
}
const { default: annotator } = await import(asked.get("module") ?? "../../workbench/widgets/static/annotator.js");
const model = new Model();
const kernel = new Kernel(model, options);
const place = document.querySelector("#place");
const leaked = [];
document.addEventListener("keydown", (event) => leaked.push(event.key));
window.harness = { model, kernel, leaked, options, stop: annotator.render({ model, el: place }) };
await kernel.open(0);
