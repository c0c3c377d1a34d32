"""Commands on what a campaign came to: efficiency, diversity, curriculum."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.answering import AsJson, Folder, UsageError, answering, app, show


class Whose(StrEnum):
    """Whose arithmetic."""

    project = "project"
    seed = "seed"


class Sets(StrEnum):
    """Which sets of masks are told apart."""

    source = "source"
    cycle = "cycle"


@app.command()
def efficiency(
    folder: Folder,
    preset: Annotated[Whose, typer.Option(help="seed: the seed's own arithmetic, whatever the project holds")] = (
        Whose.project
    ),
    manual_s: Annotated[
        float | None,
        typer.Option(help="assumed seconds a mask by hand; by default what the masks drawn here took, else 34"),
    ] = None,
    stage1_s: Annotated[float, typer.Option(help="assumed seconds a mask of Stage 1")] = 14.0,
    as_json: AsJson = False,
) -> None:
    """Show masks an image, seconds a mask, hours, and what is saved: measured, simulated or assumed."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        for name, seconds in (("--manual-s", manual_s), ("--stage1-s", stage1_s)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise UsageError(f"{name}: expected seconds above 0, got {seconds:g}")
        found = project.efficiency(preset.value, manual_s=manual_s, stage1_s=stage1_s)
        title = f"efficiency of {folder if preset is Whose.project else found.of}"
        show(found.to_dict() if as_json else {"efficiency": found.lines()}, as_json, title)


@app.command()
def diversity(
    folder: Folder,
    by: Annotated[Sets, typer.Option(help="sets of masks beside all: automatic and drawn ones, or by cycle")] = (
        Sets.source
    ),
    clusters: Annotated[
        int | None,
        typer.Option(min=2, help="count rarity over so many clusters of the bundled SAM's embeddings, not over labels"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how varied the final masks are: sizes, small ones found, occlusion, rarity."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        if clusters is None:
            found = project.diversity(by.value)
        else:
            from workbench.sam.load import load_sam

            found = project.diversity(by.value, sam=load_sam("bundled"), clusters=clusters)
        values = found.to_dict() if as_json else {"beside": found.reference, "diversity": found.lines()}
        show(values, as_json, f"diversity of {folder}")


@app.command()
def curriculum(
    folder: Folder,
    drawn: Annotated[bool, typer.Option("--drawn", help="only what people drew or edited")] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="another project, whose cycles took the images in another order: compare them"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how difficult the masks were that each cycle added: small, pale, touched and doubtful ones are."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        if against is not None:
            with Project.open(against) as other:
                orders = project.compare_orders(other)
            title = f"{orders.strategies[0]} − {orders.strategies[1]}, on the same test images"
            show(orders.to_dict() if as_json else {"differences": orders.lines()}, as_json, title)
            return
        found = project.curriculum(drawn=drawn)
        show(found.to_dict() if as_json else {found.what: found.lines()}, as_json, f"curriculum of {folder}")
