"""The command `workbench`: one word a command, a short table for people or one JSON object for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from workbench import __version__
from workbench.config import PRESET_NAMES, SettingError, Settings, preset, preset_for

app = typer.Typer(
    name="workbench",
    help="Propose masks on a folder of images with a Segment Anything model, and sort them for review.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the project's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")]
PresetName = Annotated[str | None, typer.Option("--preset", help=f"settings by name: {', '.join(PRESET_NAMES)}")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="change one setting; may be given several times")
]


# too long for a table: `report --json` has them
ONLY_JSON = ("settings", "run_id", "triage_id")
MOST_LINES = 20


class FileFormat(StrEnum):
    """What `export` writes and `import` reads."""

    coco = "coco"


class Kept(StrEnum):
    """Which masks `export` writes."""

    auto_accepted = "auto_accepted"
    flagged = "flagged"
    discarded = "discarded"
    distinct = "distinct"
    all = "all"


class UsageError(Exception):
    """The command was given something that it cannot mean; exits 2."""


def main() -> None:
    """Run the command line and exit with its status: 0, 1 (the work failed) or 2 (wrong use)."""
    app()


@contextlib.contextmanager
def _answering(as_json: bool) -> Iterator[None]:
    """Turn errors into one line of words, and into a JSON object where that was asked for."""
    from workbench.images import ImageError
    from workbench.store.errors import StoreError

    try:
        yield
    except (UsageError, SettingError) as error:
        _fail(str(error), as_json, status=2)
    except (ImageError, StoreError, ValueError, OSError, ImportError, MemoryError) as error:
        _fail(str(error) or type(error).__name__, as_json, status=1)
    except KeyboardInterrupt:
        _fail("interrupted; what was finished is kept, the same command goes on", as_json, status=1)


def _fail(reason: str, as_json: bool, status: int) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": reason}))
    typer.echo(f"workbench: {reason}", err=True)
    raise typer.Exit(status)


def _show(values: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Print a mapping as JSON or as a two-column table, which leaves out what only programs read."""
    if as_json:
        typer.echo(json.dumps(values, default=str))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_header=False, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in values.items():
        if name in ONLY_JSON or value is None:
            continue
        table.add_row(Text(name.replace("_", " ")), Text(_words(value)))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_words(v)}" for name, v in value.items() if v != 0) or "none"
    if isinstance(value, (list, tuple)):
        more = [f"and {len(value) - MOST_LINES:,} more; --json has all"] if len(value) > MOST_LINES else []
        return "\n".join([*map(_words, value[:MOST_LINES]), *more]) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _changed(settings: Settings, changes: list[str] | None) -> Any:
    """Apply NAME=VALUE pairs, read as TOML values, so that "off" is None, numbers are numbers, the rest is text."""
    import tomllib

    values: dict[str, Any] = {}
    for change in changes or []:
        name, equals, text = change.partition("=")
        if not equals:
            raise UsageError(f"--set: expected NAME=VALUE, got {change!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        values[name.strip()] = None if value == "off" else value
    return settings.replace(**values) if values else settings


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def init(
    folder: Folder,
    images: Annotated[str, typer.Option("--images", metavar="GLOB", help='"cells/*.png", a folder, or one file')],
    seed: Annotated[int, typer.Option(help="fixes which images train, calibrate and test")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a project of a folder of images."""
    from workbench.project import Project

    with _answering(as_json), Project.create(folder, images=images, seed=seed) as project:
        report = project.report().to_dict()
        shown = {"project": str(folder), **{name: report[name] for name in ("images", "duplicates", "failures")}}
        _show(shown, as_json, f"made {folder}")


@app.command()
def propose(
    folder: Folder,
    model: Annotated[str, typer.Option(help="bundled, vit_b, vit_l, vit_h, mobile_sam or transformers")] = "bundled",
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the model")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")] = "auto",
    preset_name: PresetName = None,
    changes: Changes = None,
    embedding_cache: Annotated[Path | None, typer.Option(help="keep image embeddings in this folder")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="stop after this many images")] = None,
    retry_failed: Annotated[bool, typer.Option(help="try images again that failed before")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose masks on every image; the same command again goes on where it stopped."""
    from workbench.project import Project

    with _answering(as_json), Project.open(folder) as project:
        from workbench.sam.cache import EmbeddingCache
        from workbench.sam.load import load_sam

        cache = EmbeddingCache(embedding_cache) if embedding_cache is not None else None
        sam = load_sam(model, checkpoint=checkpoint, device=device, cache=cache)
        pair = preset(preset_name) if preset_name else preset_for(sam.model_id)
        config = _changed(pair.propose, changes)
        summary = project.propose(sam, config, limit=limit, retry_failed=retry_failed)
        _show(summary.to_dict(), as_json, f"proposed in {folder}")


@app.command()
def triage(
    folder: Folder,
    preset_name: PresetName = None,
    changes: Changes = None,
    note: Annotated[str, typer.Option(help="why these thresholds")] = "",
    author: Annotated[str, typer.Option(help="who chose them")] = "",
    as_json: AsJson = False,
) -> None:
    """Sort the proposals of the latest run by thresholds and reasons; no model is run."""
    from workbench.project import Project

    with _answering(as_json), Project.open(folder) as project:
        pair = preset(preset_name) if preset_name else preset_for(project.model_id or "")
        config = _changed(pair.triage, changes)
        project.triage(config, note=note, author=author)
        report = project.report().to_dict()
        names = ("distinct", "auto_accepted", "flagged", "discarded", "auto_accept_rate", "reasons")
        _show({name: report[name] for name in names}, as_json, f"triaged {folder}")


@app.command()
def report(
    folder: Folder,
    gallery: Annotated[
        Path | None, typer.Option(help="write overlay pictures and gallery.html into this folder")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="list the images without proposals, each with why")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a project holds: images, proposals, outcomes, reasons, failures, time and memory."""
    from workbench.project import Project

    with _answering(as_json), Project.open(folder) as project:
        values = project.report().to_dict()
        if failed:
            values["failed"] = project.failures()[["path", "reason", "message"]].to_dict("records")
        if gallery is not None:
            from workbench.demo import write_project_gallery

            values["gallery"] = str(write_project_gallery(project, gallery))
        _show(values, as_json, str(folder))


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="where to write")],
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.coco,
    outcome: Annotated[Kept, typer.Option(help="which masks")] = Kept.auto_accepted,
    as_json: AsJson = False,
) -> None:
    """Write masks with their scores and provenance into a file."""
    from workbench.project import Project

    with _answering(as_json), Project.open(folder) as project:
        written = project.export_coco(file.expanduser(), outcome=outcome.value)
        _show({"file": str(file), "format": file_format.value, "masks": written}, as_json, f"exported {folder}")


@app.command("import")
def import_(
    folder: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a COCO file")],
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.coco,
    as_json: AsJson = False,
) -> None:
    """Read ground truth for the images of a project; what cannot be used is listed with its reason."""
    from workbench.project import Project

    with _answering(as_json), Project.open(folder) as project:
        _show(project.import_coco(file).to_dict(), as_json, f"imported {file}")


@app.command()
def doctor(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="a project to look at too")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation, the bundled model and, where one is named, a project."""
    from workbench.doctor import examine

    with _answering(as_json):
        findings = examine(folder)
        _show(findings.to_dict(), as_json, "workbench doctor")
        if findings.problems:
            raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="where to put it")] = Path("demo.wb"),
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="serve the gallery on this machine at the end")
    ] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of the gallery; 0 for a free one")] = 0,
    as_json: AsJson = False,
) -> None:
    """Propose and triage masks on sample images with the bundled SAM, and show them."""
    from workbench.demo import run_demo, serve_gallery

    with _answering(as_json):
        values = run_demo(folder)
        _show(values, as_json, "workbench demo")
        if serve:
            serve_gallery(Path(values["gallery"]), port)


@app.command()
def notebooks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where to copy them")],
    as_json: AsJson = False,
) -> None:
    """Copy the notebooks that come with the package into a folder; files that are there are kept."""
    from workbench.demo import copy_notebooks

    with _answering(as_json):
        copied, kept = copy_notebooks(folder)
        _show({"copied": copied, "kept": kept}, as_json, f"notebooks in {folder}")


if __name__ == "__main__":
    main()
