"""Commands on the installation: doctor, demo, notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.answering import AsJson, answering, app, refuse_unused, show


@app.command()
def doctor(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="a project to look at too")] = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="bring what the project keeps beside its journal to what the journal says")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the installation, the bundled model and, where one is named, a project."""
    from workbench.doctor import examine

    with answering(as_json):
        refuse_unused("a project (DIR)", folder is not None, {"mend": mend or None})
        findings = examine(folder, mend)
        show(findings.to_dict(), as_json, "workbench doctor")
        if findings.problems:
            raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="where to put it")] = Path("demo.wb"),
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="serve the dashboards on this machine at the end")
    ] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of the dashboards; 0 for a free one")] = 0,
    as_json: AsJson = False,
) -> None:
    """Propose and triage masks on sample images with the bundled SAM, and show them."""
    from workbench.demo import run_demo, shipped

    with answering(as_json):
        values = run_demo(folder)
        show(values, as_json, "workbench demo")
        if serve:
            from workbench.views import serving

            typer.echo(
                f"The cycles are served; the sample images by: workbench dashboard {folder / 'project'}", err=True
            )
            served = serving.Served(project=(folder / "cycles" / "project").resolve(), port=port)
            serving.serve(served, sorted(shipped("dashboards").glob("*.py")))


@app.command()
def notebooks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where to copy them")],
    as_json: AsJson = False,
) -> None:
    """Copy the notebooks that come with the package into a folder; files that are there are kept."""
    from workbench.demo import copy_notebooks

    with answering(as_json):
        copied, kept = copy_notebooks(folder)
        show({"copied": copied, "kept": kept}, as_json, f"notebooks in {folder}")
