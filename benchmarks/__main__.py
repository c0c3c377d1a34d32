"""All benchmarks, one after the other, and their figures in RESULTS.md: `python -m benchmarks [NAME ...] --data DIR`."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TAKES_DATA = {
    "bundled_sam": True, "amg": False, "nms": True, "rle": False, "pool": True, "memory": False, "annotator": False,
    "certificates": True, "cycles": True, "dashboards": False, "refine": True, "side_by_side": True,
}  # fmt: skip
BEGIN, END = "<!-- {name}: written by python -m benchmarks -->", "<!-- /{name} -->"


def main() -> None:
    """Run the named benchmarks, or all, and replace their sections in RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TAKES_DATA)}; all when none is given")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--options", default="", help='for the one named benchmark, e.g. --options "--limit 60"')
    parser.add_argument(
        "--rows", type=Path, nargs="+", help="files that runs of the one named benchmark have left with --json"
    )
    given = parser.parse_args()
    unknown = set(given.names) - set(TAKES_DATA)
    if unknown:
        parser.error(f"expected names of {', '.join(TAKES_DATA)}, got {', '.join(sorted(unknown))}")
    if given.rows is not None:
        (name,) = given.names
        parts = [json.loads(file.read_text("utf-8")) for file in given.rows]
        rows = [row for part in parts for row in part["rows"]]
        found = {**parts[0], "rows": rows, **{what: _all_of(parts, what) for what in ("commit", "device")}}
        keep(HERE / "RESULTS.md", name, section(found, name, given.options))
        return
    for name in given.names or TAKES_DATA:
        options = given.options.split() + (["--data", str(given.data)] if TAKES_DATA[name] else [])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file), *options]
            subprocess.run(command, check=True)
            keep(HERE / "RESULTS.md", name, section(json.loads(file.read_text("utf-8")), name, given.options))


def _all_of(parts: list[dict[str, Any]], what: str) -> str:
    """Return what runs say of themselves, each once."""
    return " and ".join(dict.fromkeys(str(part[what]) for part in parts))


def section(found: dict[str, object], name: str, options: str) -> str:
    """Return the figures of one benchmark as Markdown."""
    shown = f"python -m benchmarks.{name} {options} --json F".replace("  ", " ")
    lines = [
        f"## {name}",
        "",
        f"{datetime.date.today().isoformat()}, commit {found['commit']}, {found['device']}, `{shown}`",
        "",
        "| figure | value | 95 % interval | n | aim | met |",
        "|---|---|---|---|---|---|",
    ]
    rows = found["rows"]
    assert isinstance(rows, list)
    for row in rows:
        value = "—" if row["value"] is None or math.isnan(row["value"]) else f"{row['value']:.4g} {row['unit']}"
        interval = "" if row["interval"] is None else f"{row['interval'][0]:.4g} to {row['interval'][1]:.4g}"
        aim = "" if row["aim"] is None else f"{row['direction']} {row['aim']:g}"
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append(f"| {row['name']} | {value.removesuffix(' 1')} | {interval} | {row['n']} | {aim} | {met} |")
    return "\n".join(lines)


def keep(path: Path, name: str, text: str) -> None:
    """Put a section in the place of its predecessor, or at the end."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before = path.read_text("utf-8") if path.exists() else "# Results\n"
    block = f"{begin}\n{text}\n{end}"
    if begin in before:
        head, _, rest = before.partition(begin)
        path.write_text(head + block + rest.partition(end)[2], "utf-8")
    else:
        path.write_text(f"{before.rstrip()}\n\n{block}\n", "utf-8")


if __name__ == "__main__":
    main()
