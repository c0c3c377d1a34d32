"""Commands on a project's images: init, add, propose, triage, report, export, import."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
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
    refuse_unused,
    show,
)
from workbench.config import ProposeConfig, preset, preset_for, triage_config

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.sam.segmenter import Segmenter
    from workbench.tables.cycles import CycleTable


class FileFormat(StrEnum):
    """What `export` writes and `import` reads."""

    coco = "coco"


class Kept(StrEnum):
    """Which masks `export` writes."""

    auto_accepted = "auto_accepted"
    final = "final"
    flagged = "flagged"
    discarded = "discarded"
    distinct = "distinct"
    all = "all"


@app.command()
def init(
    folder: Folder,
    images: Annotated[str, typer.Option("--images", metavar="GLOB", help='"cells/*.png", a folder, or one file')],
    seed: Annotated[
        int, typer.Option(min=-(2**63), max=2**63 - 1, help="fixes which images train, calibrate and test")
    ] = 0,
    roles: Annotated[
        str, typer.Option(metavar="SHARES", help="of the images that train, calibrate and test; drawn by content")
    ] = "0.6,0.2,0.2",
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="keep the catalogue there; other commands read it from WORKBENCH_DATABASE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a project of a folder of images."""
    from workbench.images import ROLES
    from workbench.project import Project

    how: dict[str, Any] = {"seed": seed, "database": database}
    with answering(as_json), Project.create(folder, images, roles=_shares(roles), **how) as project:
        report = project.report().to_dict()
        shown = {"project": str(folder), **{name: report[name] for name in ("images", "duplicates", "failures")}}
        counted = project.images()["role"].value_counts()
        shown["roles"] = {role: int(counted.get(role, 0)) for role in ROLES}
        if missing := [role for role, count in shown["roles"].items() if not count]:
            shown["note"] = (
                f"no image of role {' or '.join(missing)}, without which confidence and recall cannot be measured: add more "
                "(workbench add), or make the project anew with other --roles"
            )
        show(shown, as_json, f"made {folder}")


@app.command()
def add(
    folder: Folder,
    images: Annotated[str, typer.Option("--images", metavar="GLOB", help='"more/*.png", a folder, or one file')],
    as_json: AsJson = False,
) -> None:
    """Add images to a project; those that it has are passed over, and files that could not be read are tried again."""
    from workbench.images import ROLES
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        added = project.add_images(images)
        counted = project.images()["role"].value_counts()
        roles = {role: int(counted.get(role, 0)) for role in ROLES}
        show(
            {**dataclasses.asdict(added), "images": sum(roles.values()), "roles": roles}, as_json, f"added to {folder}"
        )


def _shares(text: str) -> list[float]:
    from workbench.images import check_shares

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--roles: expected three shares such as 0.6,0.2,0.2, got {text!r}") from None
    with given_as("--roles"):
        check_shares(shares)
    return shares


@app.command()
def propose(
    folder: Folder,
    model: Annotated[
        str,
        typer.Option(
            help="bundled, vit_b, vit_l, vit_h, mobile_sam or transformers; the id of one that was trained here; or latest: the model "
            "and the settings of the latest run, as after cycles"
        ),
    ] = "bundled",
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the model")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="of the image encoder, and of point grids on CUDA: auto, float32, bfloat16, float16")
    ] = "auto",
    compiled: Annotated[bool, typer.Option("--compiled", help="torch.compile the image encoder")] = False,
    preset_name: PresetName = None,
    changes: Changes = None,
    embedding_cache: Annotated[Path | None, typer.Option(help="keep image embeddings in this folder")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="stop after this many images")] = None,
    retry_failed: Annotated[bool, typer.Option(help="try images again that failed before")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose masks on every image; the same command again goes on where it stopped."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        from workbench.sam.cache import EmbeddingCache
        from workbench.sam.load import resolve_device, resolve_dtype

        with given_as("--device"):
            where = resolve_device(device)
        with given_as("--dtype"):
            resolve_dtype(dtype, where)
        cache = EmbeddingCache(embedding_cache) if embedding_cache is not None else None
        sam, floors = _model(project, model, checkpoint, compiled, device=device, dtype=dtype, cache=cache)
        of_model = floors or preset_for(sam.model_id).propose
        config = changed(preset(preset_name).propose if preset_name else of_model, changes)
        summary = project.propose(sam, config, limit=limit, retry_failed=retry_failed)
        show(summary.to_dict(), as_json, f"proposed in {folder}")


def _model(
    project: Project, model: str, checkpoint: Path | None, compiled: bool, **how: Any
) -> tuple[Segmenter, ProposeConfig | None]:
    """Load the model that --model means; with it the settings of the latest run, where that is meant."""
    from workbench.sam.load import known_name, load_sam

    model_id, floors = model, None
    if model == "latest":
        model_id, floors = project.model_id or "", project.propose_config()
        if floors is None:
            raise UsageError("--model latest: expected a run before, there is none; name a model")
    if model_id in project.models()["model_id"].tolist():
        refuse_unused("a model by name", False, {"checkpoint": checkpoint, "compiled": compiled or None})
        return project.load_model(model_id, **how), floors
    name = model_id.rpartition("-")[0] if floors else model_id  # an id is a name with a hash
    with given_as("--model"):
        known_name(name)
    sam = load_sam(name, checkpoint=checkpoint, compiled=compiled, **how)
    if floors and sam.model_id != model_id:
        raise UsageError(
            f"--model latest: expected {model_id}, which made that run, got {sam.model_id}; give its --checkpoint"
        )
    return sam, floors


@app.command()
def triage(
    folder: Folder,
    preset_name: PresetName = None,
    changes: Changes = None,
    note: Annotated[str, typer.Option(help="why these thresholds")] = "",
    author: Annotated[str, typer.Option(help="who chose them")] = "",
    as_json: AsJson = False,
) -> None:
    """Sort the proposals of the latest run by thresholds and reasons; no model is run.

    --set changes the thresholds used last, before the first triage of a run those of the preset that fits its model;
    --preset begins with a preset.
    """
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        base = triage_config(preset_name, project.propose_config()) if preset_name else project.triage_config()
        project.triage(changed(base, changes), note=note, author=author)
        report = project.report().to_dict()
        report["recall_auto"] = _recall_auto(project, as_json)
        names = ("distinct", "auto_accepted", "flagged", "discarded", "auto_accept_rate", "recall_auto", "reasons")
        show({name: report[name] for name in names}, as_json, f"triaged {folder}")


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

    with answering(as_json), Project.open(folder) as project:
        values: dict[str, Any] = {}
        for name, value in project.report().to_dict().items():
            values[name] = value
            if name == "auto_accept_rate":  # says little without it
                values["recall_auto"] = _recall_auto(project, as_json)
        table = project.cycles()
        if len(table) or table.awaited:
            values["cycles"] = table.to_dict()["rows"] if as_json else table.lines()
            values["awaited"] = list(table.awaited) if as_json else None  # for people it is the last line of the table
        if len(table):
            values["beside_the_seed"] = _beside_seed(table, as_json)
        if other := _fuller_run(project):
            values["note"] = other
        if failed:
            values["failed"] = project.failures()[["path", "reason", "message"]].to_dict("records")
        if gallery is not None:
            from workbench.demo import write_project_gallery

            values["gallery"] = str(write_project_gallery(project, gallery))
        show(values, as_json, str(folder))


def _fuller_run(project: Project) -> str:
    """Say where an earlier run has more images than the latest, which all goes by; "" where none has."""
    from workbench.store import campaigns

    frame, latest = project.runs(), project.report().run_id
    last = campaigns.find(project.catalog)
    cycles = campaigns.of_campaign(project.catalog, last.id) if last else []
    if latest in [cycle.state.get("run_id") for cycle in cycles]:  # cycles propose on their own images
        return ""
    done = {int(run): int(images) for run, images in zip(frame["id"], frame["done"], strict=True)}
    most = max(done, key=lambda run: done[run], default=latest)
    if latest is None or most is None or done[most] <= done[latest]:
        return ""
    return (
        f"these are run {latest}'s masks, which has {done[latest]:,} images; run {most} has {done[most]:,}: propose on the "
        f"others too, or again with the model and settings of run {most} (project.runs()), and that is the latest again"
    )


def _recall_auto(project: Project, as_json: bool) -> Any:
    """What the auto-acceptance rate is worth: how much of the truth is found, where truth is known."""
    found = project.recall_auto()
    if as_json:
        return found.to_dict() if found.known else None
    return str(found) if found.known else "not known: no image has truth or a complete review"


def _beside_seed(table: CycleTable, as_json: bool) -> Any:
    """The seed's cycle table and the project's, each row labelled."""
    from workbench.tables.seed_table import lines

    frame = table.beside_seed()
    if not as_json:
        return lines(frame)
    return {"rows": frame.to_dict("records"), "note": frame.attrs["note"]}


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="where to write")],
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.coco,
    outcome: Annotated[
        Kept,
        typer.Option(help="which masks; final: what people left, and of images nobody has left what is auto-accepted"),
    ] = Kept.auto_accepted,
    as_json: AsJson = False,
) -> None:
    """Write masks with their scores and provenance into a file."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        written = project.export_coco(file.expanduser(), outcome=outcome.value)
        values: dict[str, Any] = {"file": str(file), "format": file_format.value, "masks": written}
        if outcome is Kept.final:
            frame, left = project.images(), set(project.reviewed_images())
            not_left = set(frame["image_id"][frame["status"] == "done"]) - left
            values |= {"complete": len(project.reviewed_images("complete")), "not_left": len(not_left)}
            if values["not_left"]:
                values["note"] = (
                    f"of the {values['not_left']:,} images that nobody has left, what is auto-accepted was written"
                )
        if other := _fuller_run(project):
            values["note"] = "; ".join(filter(None, (values.get("note"), other)))
        show(values, as_json, f"exported {folder}")


@app.command("import")
def import_(
    folder: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a COCO file")],
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.coco,
    as_json: AsJson = False,
) -> None:
    """Read ground truth for the images of a project, which replaces the truth that they have.

    What cannot be used is listed with its reason; an import of nothing at all fails.
    """
    from workbench.exchange import nothing_imported, replaced_truth
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        summary = project.import_coco(file)
        replaced, nothing = replaced_truth(summary), nothing_imported(project, summary)
        said = {"note": replaced, "error": nothing if as_json else ""}
        show({**summary.to_dict(), **{k: v for k, v in said.items() if v}}, as_json, f"imported {file}")
        if nothing:
            typer.echo(f"workbench: {nothing}", err=True)
            raise typer.Exit(1)
