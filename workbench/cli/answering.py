"""What all commands share: the app, common options, errors in words, a table for people or JSON for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from workbench.config import PRESET_NAMES, SettingError, Settings
from workbench.plain import plain

PANELS: Mapping[str, tuple[str, ...]] = {  # as a project goes, not as modules are imported
    "Begin": ("demo", "notebooks", "doctor"),
    "Images and masks": ("init", "add", "propose", "triage", "report", "import", "export", "sweep"),
    "Review": ("review", "audit", "quality", "agreement"),
    "Cycles": ("cycle", "efficiency", "diversity", "curriculum"),
    "Confidence, and what it allows": ("calibrate", "gate", "annotate"),
    "Look at it": ("dashboard",),
}


@contextlib.contextmanager
def _told_as_json(as_json: bool) -> Iterator[None]:
    """Print what a command line cannot be read for as JSON, where that was asked for; typer tells people."""
    try:
        yield
    except Exception as error:
        if as_json and hasattr(error, "format_message"):  # of click, which typer may bring along
            typer.echo(json.dumps({"error": error.format_message()}))
        raise


class InPanels(TyperGroup):
    """The commands, listed by `PANELS`."""

    def make_context(self, info_name: str | None, args: list[str], *given: Any, **more: Any) -> Any:
        """Return the context of a call, which knows whether JSON was asked for before any command reads that."""
        as_json = "--json" in args
        with _told_as_json(as_json):
            ctx: Any = super().make_context(info_name, args, *given, **more)
        ctx.meta["workbench.json"] = as_json
        return ctx

    def invoke(self, ctx: Any) -> Any:
        """Run a command; words that it cannot read are told as one JSON object too, where that was asked for."""
        with _told_as_json(ctx.meta["workbench.json"]):
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names in that order."""
        order = [name for names in PANELS.values() for name in names]
        return sorted(super().list_commands(ctx), key=order.index)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, which knows its panel."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            command.rich_help_panel = next(panel for panel, names in PANELS.items() if cmd_name in names)
        return command


app = typer.Typer(
    name="workbench",
    cls=InPanels,
    help="Annotate images with masks: a Segment Anything model proposes, people review what is doubtful, the model learns.",
    no_args_is_help=True,
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


class UsageError(Exception):
    """The command was given something that it cannot mean; exits 2."""


@contextlib.contextmanager
def given_as(option: str) -> Iterator[None]:
    """Turn what is wrong with a value into a wrong use of its option."""
    try:
        yield
    except ValueError as error:
        said = str(error).removeprefix(f"{option.removeprefix('--').replace('-', '_')}: ")  # its name in Python
        raise UsageError(f"{option}: {said}") from None


@contextlib.contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turn errors into one line of words, and into a JSON object where that was asked for."""
    from workbench.images import ImageError
    from workbench.store.errors import StoreError

    try:
        yield
    except (UsageError, SettingError) as error:
        _fail(str(error), as_json, status=2)
    except (ImageError, StoreError, ValueError, OSError, ImportError, MemoryError) as error:
        _fail(_told(error), as_json, status=1)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, of a GPU; torch itself may not be imported yet
            raise
        words = "lower points_per_batch (floors), or views and prompts (train), or take --device cpu; what was finished is kept"
        _fail(f"the memory of the device ran out: {words}", as_json, status=1)
    except KeyboardInterrupt:
        _fail(
            "interrupted; what the project has is whole, and the same command goes on or begins anew", as_json, status=1
        )


def refuse_unused(option: str, given: bool, options: Mapping[str, object]) -> None:
    """Refuse options, None where they were not given, that say nothing without another one."""
    for name, value in options.items():
        if value is not None and not given:
            raise UsageError(f"--{name}: expected {option} with it; it says nothing without")


def _told(error: Exception) -> str:
    """Return the words of an error; of one of the system the file comes first, and not its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error) or type(error).__name__


def _fail(reason: str, as_json: bool, status: int) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": reason}))
    typer.echo(f"workbench: {reason}", err=True)
    raise typer.Exit(status)


def show(values: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Print a mapping as JSON or as a two-column table, which leaves out what only programs read."""
    if as_json:
        typer.echo(json.dumps(plain(values), default=str, allow_nan=False))
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


def changed(settings: Settings, changes: list[str] | None) -> Any:
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
