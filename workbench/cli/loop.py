"""Commands of the loop: cycle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.answering import AsJson, Folder, UsageError, answering, app, changed, given_as, show
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.tables.cycles import CycleTable

PARTS = ("cycle", "train", "floors", "triage", "oracle")
# settings of cycles with an option of their own: given in two ways, one would be overruled without a word
OPTIONS = {
    "train": "--batch",
    "calibration": "--calibration",
    "strategy": "--strategy",
    "exhaustive": "--only-recall",
    "seed": "--seed",
}


class Who(StrEnum):
    """Who reviews."""

    people = "people"
    oracle = "oracle"


class Strategy(StrEnum):
    """Which train images come first."""

    random = "random"
    uncertain = "uncertain"
    diverse = "diverse"
    curriculum = "curriculum"


@app.command()
def cycle(
    folder: Folder,
    cycles: Annotated[int, typer.Option(min=1, help="how many, those that are done among them")] = 5,
    annotator: Annotated[Who, typer.Option(help="people review through the queue, an oracle from truth")] = Who.people,
    ground_truth: Annotated[
        Path | None, typer.Option("--ground-truth", metavar="FILE", help="a COCO file to import first")
    ] = None,
    model: Annotated[str, typer.Option(help="the first model: bundled, vit_b, vit_l, vit_h, mobile_sam")] = "bundled",
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the first model")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")] = "auto",
    batch: Annotated[
        int | None, typer.Option(min=1, help="train images a cycle; all in equal parts by default")
    ] = None,
    calibration: Annotated[int | None, typer.Option(min=0, help="calibration images a cycle")] = None,
    strategy: Annotated[Strategy, typer.Option(help="which train images come first")] = Strategy.random,
    only_recall: Annotated[
        bool, typer.Option(help="the truth is not exhaustive: wrong masks are not counted, thresholds stay")
    ] = False,
    seed: Annotated[int, typer.Option(help="of batches and intervals")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PART.NAME=VALUE", help=f"change a setting of {', '.join(PARTS)}"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run cycles of propose, triage, review, train and evaluate; the same command again goes on where it stopped."""
    from workbench.exchange import nothing_imported, replaced_truth
    from workbench.project import Project

    with answering(as_json):
        parts = _by_part(changes)
        if parts["oracle"] and annotator is not Who.oracle:
            raise UsageError(
                f"--set oracle.{parts['oracle'][0]}: expected --annotator oracle with it; it says nothing without"
            )
    with answering(as_json), Project.open(folder) as project:
        from workbench.loop.oracle import OracleConfig
        from workbench.loop.plan import CycleConfig, first_triage, fitting_floors
        from workbench.sam.load import known_name, load_sam
        from workbench.train.settings import TrainConfig

        train, oracle = _with(TrainConfig(), parts["train"]), _with(OracleConfig(), parts["oracle"])
        with given_as("--model"):
            known_name(model)
        fits = f"{model}-"  # what its id will begin with: a slip is told before the model is loaded
        floors = _with(fitting_floors(fits), parts["floors"])
        triage = _with(first_triage(None, floors, fits), parts["triage"])
        config = CycleConfig(
            train=batch, calibration=calibration, strategy=strategy.value, exhaustive=not only_recall, seed=seed
        )
        config = _with(config, parts["cycle"])
        imported: dict[str, Any] = {}
        if ground_truth is not None:
            summary = project.import_coco(ground_truth)
            if why := nothing_imported(project, summary):
                raise ValueError(why)
            imported = {"imported": summary.to_dict()}
            unmatched = [f"{name}: no image of the project" for name in summary.unmatched]
            for line in filter(None, (replaced_truth(summary), *summary.problems, *unmatched)):
                typer.echo(f"{ground_truth}: {line}", err=True)
        first = load_sam(model, checkpoint=checkpoint, device=device)
        table = project.run_cycles(
            cycles,
            annotator=oracle if annotator is Who.oracle else "people",
            model=first,
            config=config,
            floors=floors,
            triage=triage,
            train=train,
        )
        show({**table.to_dict(), **imported} if as_json else shown(table), as_json, f"cycles of {folder}")


def shown(table: CycleTable) -> dict[str, Any]:
    """Return the table for people: a line a cycle."""
    return {"cycles": table.lines()}


def _by_part(changes: list[str] | None) -> dict[str, list[str]]:
    """Sort PART.NAME=VALUE by part. Raises UsageError for another one, and for what has an option of its own."""
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    for change in changes or []:
        part, dot, rest = change.partition(".")
        if not dot or part not in found:
            raise UsageError(f"--set: expected PART.NAME=VALUE with a part of {', '.join(PARTS)}, got {change!r}")
        name = rest.partition("=")[0].strip()
        if part == "cycle" and name in OPTIONS:
            raise UsageError(f"--set {change}: expected another setting of cycles, {name} is given by {OPTIONS[name]}")
        found[part].append(rest)
    return found


def _with(config: Settings, changes: list[str]) -> Any:
    return changed(config, changes or None)
