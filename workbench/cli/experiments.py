"""The command sweep: grids of thresholds over stored proposals; experiments listed, shown, compared and adopted."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.answering import (
    AsJson,
    Changes,
    Folder,
    PresetName,
    UsageError,
    answering,
    app,
    changed,
    given_as,
    show,
)
from workbench.config import triage_config
from workbench.plain import plain

if TYPE_CHECKING:
    import pandas as pd

    from workbench.project import Project

MOST_VALUES = 10_000  # of one setting: more make too large a grid with any other
_MOST_ROWS = 60  # shown to people
Row = Mapping[str, Any]


class Labels(StrEnum):
    """What recall and false positives are counted against."""

    truth = "truth"
    review = "review"
    audits = "audits"


class Role(StrEnum):
    """Which images are swept over."""

    train = "train"
    calibration = "calibration"
    test = "test"


Grids = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="NAME=VALUES", help="values as 0.5:0.95:0.05 or 0.8,0.9,off; several make a grid"),
]
Metrics = Annotated[
    str | None, typer.Option(metavar="NAMES", help="figures, by commas; all that can be counted if none")
]
Compare = Annotated[
    list[str] | None,
    typer.Option("--compare", metavar="NAME[:ROW]", help="given twice: paired differences, first minus second"),
]


@app.command()
def sweep(
    folder: Folder,
    grid: Grids = None,
    metrics: Metrics = None,
    name: Annotated[str | None, typer.Option(help="keep it as an experiment of this name")] = None,
    note: Annotated[str, typer.Option(help="why, kept with it")] = "",
    author: Annotated[str, typer.Option(help="who, kept with it")] = "",
    images: Annotated[
        list[str] | None, typer.Option("--image", metavar="NAME", help="id or path; again for more")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="only images of this role")] = None,
    preset_name: PresetName = None,
    changes: Changes = None,
    labels: Annotated[
        Labels | None,
        typer.Option(help="count recall against these; truth where there is any; audits: fp_rate from audited masks"),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="truth holds every object: wrong masks count")
    ] = False,
    show_name: Annotated[str | None, typer.Option("--show", metavar="NAME", help="show an experiment")] = None,
    compare: Compare = None,
    adopt: Annotated[str | None, typer.Option(metavar="NAME:ROW", help="triage by the settings of this point")] = None,
    as_json: AsJson = False,
) -> None:
    """Count figures over a grid of thresholds, without the model; with no --grid, list the experiments kept."""
    from workbench.project import Project

    with answering(as_json):
        given = {"--grid": grid, "--show": show_name, "--compare": compare, "--adopt": adopt}
        if len(asked := [option for option, value in given.items() if value]) > 1:
            raise UsageError(f"sweep: expected one of {', '.join(given)}, got {' and '.join(asked)}")
        if name is not None and not name.strip():
            raise UsageError("--name: expected a name of the experiment to keep, got an empty text")
        values = _grid(grid or [])
        of_grid: dict[str, object] = {
            "--name": name,
            "--image": images,
            "--role": role,
            "--preset": preset_name,
            "--set": changes,
        }
        of_grid |= {"--labels": labels, "--exhaustive": exhaustive}
        if not grid and (given_too := [option for option, value in of_grid.items() if value]):
            raise UsageError(f"sweep: {', '.join(given_too)} goes with --grid NAME=VALUES, which says what to count")
        if (note or author) and not (grid or adopt):
            raise UsageError("sweep: --note and --author go with --grid or --adopt")
        if metrics and not (grid or compare):
            raise UsageError("sweep: --metrics goes with --grid or --compare")
        names = _names(metrics)
        with Project.open(folder) as project:
            if grid:
                of_preset = triage_config(preset_name, project.propose_config()) if preset_name else None
                table = project.sweep(
                    values,
                    names,
                    name=name,
                    note=note,
                    author=author,
                    images=images,
                    role=role.value if role else None,
                    base=changed(of_preset or project.triage_config(), changes),
                    labels=labels.value if labels else None,
                    exhaustive=exhaustive,
                    progress=not as_json,
                )
                _show_points(table, name, as_json)
            elif show_name:
                found = project.experiment(show_name)
                base = {"labels": found.about, "settings": dict(found.settings), "base": dict(found.counted.base)}
                _show_points(found.table, show_name, as_json, base)
            elif compare:
                _compare(project, compare, names, as_json)
            elif adopt:
                _adopt(project, adopt, author, note, as_json)
            else:
                rows = _records(project.experiments())
                if not rows and not as_json:
                    typer.echo("no experiments yet: --grid NAME=VALUES counts one, --name NAME keeps it")
                    return
                _show_rows("experiments", rows, {}, as_json, f"experiments in {folder}")


def _grid(given: list[str]) -> dict[str, list[float | None]]:
    """Return the values of each setting. Raises UsageError for one that is given twice."""
    found: dict[str, list[float | None]] = {}
    for name, values in map(_values, given):
        if name in found:
            raise UsageError(f"--grid: {name} is given twice; expected all its values in one, NAME=a,b,c")
        found[name] = values
    return found


def _values(text: str) -> tuple[str, list[Any]]:
    """Read NAME=first:last:step or NAME=a,b,c; "off" turns a threshold off, what is no number is a word (nms=box,mask)."""
    name, equals, values = text.partition("=")
    try:
        if not equals or not values.strip():
            raise ValueError
        if ":" in values:
            first, last, step = map(float, values.split(":"))
            return name.strip(), _steps(first, last, step)
        return name.strip(), [_value(v.strip()) for v in values.split(",")]
    except ValueError:
        raise UsageError(
            f"--grid: expected NAME=first:last:step, with a step above 0, or NAME=a,b,c; got {text!r}"
        ) from None


def _value(text: str) -> Any:
    if text.isidentifier() and text not in ("nan", "inf", "infinity"):
        return None if text == "off" else text
    return float(text)


def _steps(first: float, last: float, step: float) -> list[float | None]:
    if not (step > 0 and math.isfinite(first) and math.isfinite(last) and math.isfinite(step)) or last < first:
        raise ValueError
    n = math.floor((last - first) / step + 1e-6) + 1  # 0.05 is a little more, or less, than a twentieth
    if n > MOST_VALUES:
        raise UsageError(f"--grid: expected at most {MOST_VALUES:,} values, got {n:,} from {first:g}:{last:g}:{step:g}")
    return [round(first + k * step, 10) for k in range(n)]


def _names(text: str | None) -> list[str] | None:
    """Return the figures asked for. Raises UsageError for an unknown one."""
    from workbench.loop.metrics import known_metrics

    with given_as("--metrics"):
        return None if text is None else known_metrics([name.strip() for name in text.split(",") if name.strip()])


def _point(project: Project, text: str) -> str | tuple[str, int]:
    """Read NAME or NAME:ROW; an experiment of that whole name goes first."""
    name, colon, row = text.rpartition(":")
    if not (colon and row.strip().isdecimal()) or text in set(project.experiments()["name"]):
        return text
    return name, int(row)


def _compare(project: Project, sides: Sequence[str], metrics: list[str] | None, as_json: bool) -> None:
    if len(sides) != 2:
        raise UsageError(f"--compare: expected to be given twice, as --compare first:3 --compare second:3, got {sides}")
    rows = _records(project.compare(_point(project, sides[0]), _point(project, sides[1]), metrics))
    shown = {"difference": ("difference", "low", "high")}
    _show_rows("differences", rows, shown, as_json, f"{sides[0]} minus {sides[1]}, on the same images")


def _adopt(project: Project, point: str, author: str, note: str, as_json: bool) -> None:
    found = _point(project, point)
    if isinstance(found, str):
        raise UsageError(f"--adopt: expected NAME:ROW, as first:3, got {point!r}")
    name, row = found
    triage = project.adopt(name, row, author=author, note=note)
    values = {"experiment": name, "row": row, **project.experiment(name).counted.changes[row], **triage.counts()}
    show(values, as_json, f"adopted {point}")


def _show_points(table: pd.DataFrame, name: str | None, as_json: bool, about: Row | None = None) -> None:
    rows = [{"row": k, **row} for k, row in enumerate(_records(table))]
    figures = [c for c in table.columns if f"{c}_low" in table.columns]
    shown = {figure: (figure, f"{figure}_low", f"{figure}_high", f"{figure}_n") for figure in figures}
    title = f"experiment {name}" if name else "sweep"
    title = f"{title} ({about['labels']})" if about else title
    _show_rows("points", rows, shown, as_json, title, {"name": name, **(about or {})})


def _records(frame: pd.DataFrame) -> list[Row]:
    """Return rows as plain values; what is not known is None."""
    return plain(frame.to_dict("records"))


def _show_rows(
    what: str,
    rows: Sequence[Row],
    intervals: Mapping[str, tuple[str, ...]],
    as_json: bool,
    title: str,
    about: Row | None = None,
) -> None:
    """Print rows as one JSON object, or as a table with each figure and its interval in one column."""
    if as_json:
        show({**(about or {}), what: rows}, as_json, title)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    inside = {column for columns in intervals.values() for column in columns[1:]}
    names = [name for name in (rows[0] if rows else {}) if name not in inside]
    more = f"; the first {_MOST_ROWS} of {len(rows):,}, --json has all" if len(rows) > _MOST_ROWS else ""
    table = Table(title=Text(f"{title}{more}" if rows else f"{title}: none"), title_justify="left", box=None)
    for name in names:
        table.add_column(Text(name.replace("_", " ")), justify="right")
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(_cell([row[c] for c in intervals.get(name, (name,))]) for name in names))
    # a pipe gets whole lines, whatever their width
    Console(width=None if sys.stdout.isatty() else 400).print(table)


def _cell(values: Iterable[Any]) -> str:
    value, *ends = [_short(v) for v in values]
    return f"{value} [{ends[0]}, {ends[1]}]" if len(ends) >= 2 and ends[0] != "-" else value


def _short(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
