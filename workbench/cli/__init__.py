"""The command `workbench`: one word a command, a short table for people or one JSON object for programs."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from workbench import __version__
from workbench.cli import account, calibration, dashboard, experiments, installation, loop, review, working
from workbench.cli.answering import app

__all__ = [
    "account",
    "app",
    "calibration",
    "dashboard",
    "experiments",
    "installation",
    "loop",
    "main",
    "review",
    "working",
]


def main() -> None:
    """Run the command line and exit with its status: 0, 1 (the work failed) or 2 (wrong use).

    Asked to end (SIGTERM, as job schedulers and containers do), it ends as by Ctrl-C: what is finished is written first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
