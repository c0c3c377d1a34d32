"""Commands on confidence and what it allows: calibrate, gate, annotate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.answering import (
    AsJson,
    Changes,
    Folder,
    UsageError,
    answering,
    app,
    changed,
    given_as,
    refuse_unused,
    show,
)

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.calibration import Calibration
    from workbench.loop.certification import Certificates
    from workbench.loop.stage3 import Annotation
    from workbench.project import Project
    from workbench.sam.segmenter import Segmenter


class Adopt(StrEnum):
    """What triage can take up from a calibration."""

    certificate = "certificate"
    verifier = "verifier"


@app.command()
def calibrate(
    folder: Folder,
    alpha: Annotated[float, typer.Option(help="the largest share wrong that is certified")] = 0.05,
    delta: Annotated[float, typer.Option(help="1 - the confidence of the certificates")] = 0.05,
    share: Annotated[
        float | None, typer.Option(help="calibration images to fit on (0.5); the rest is for certificates")
    ] = None,
    labels: Annotated[
        int | None, typer.Option(min=1, help="masks drawn from the pool for its certificate, in all (at first 300)")
    ] = None,
    certify_only: Annotated[
        bool,
        typer.Option("--certify-only", help="keep the last calibration, and the masks drawn by it, and certify again"),
    ] = False,
    exhaustive: Annotated[
        bool | None,
        typer.Option(
            "--exhaustive/--only-recall",
            help="truth holds every object, or labels come from what people completed only (as the campaign was told)",
        ),
    ] = None,
    adopt: Annotated[Adopt | None, typer.Option(help="what triage is to use from now on, as a new version")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="adopt a verifier that does not beat predicted IoU")] = False,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="let the verifier look at the embedding of the run's model too")
    ] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the run's model, for --embedding")] = None,
    embedding_cache: Annotated[Path | None, typer.Option(help="image embeddings kept in this folder")] = None,
    author: Annotated[str, typer.Option(help="who adopts it")] = "",
    note: Annotated[str, typer.Option(help="why")] = "",
    as_json: AsJson = False,
) -> None:
    """Judge and recalibrate the confidence of the latest run, certify what can be, and have triage use it if asked to."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        fitted = 0.5 if share is None else share
        _refuse_no_share(alpha=alpha, delta=delta, share=fitted)
        refuse_unused("--embedding", embedding, {"checkpoint": checkpoint, "embedding-cache": embedding_cache})
        refuse_unused("--adopt verifier", adopt is Adopt.verifier, {"anyway": anyway or None})
        refuse_unused("--adopt", adopt is not None, {"author": author or None, "note": note or None})
        if certify_only and (
            share is not None or exhaustive is not None or (embedding and adopt is not Adopt.verifier)
        ):
            raise UsageError(
                "--certify-only: expected no --share, --exhaustive, --only-recall or --embedding with it; the last calibration is kept as it was made"
            )
        sam = _model_of(project, checkpoint, embedding_cache) if embedding else None
        found = project.calibration() if certify_only else None
        if found is None and certify_only:
            raise UsageError("--certify-only: expected a calibration of the latest run; run it without first")
        found = found or project.calibrate(share=fitted, sam=sam, exhaustive=exhaustive)
        values = _calibrated(found, as_json)
        if found.recalibration is not None:
            values |= _certified(project, project.certify(alpha, delta, labels=labels), as_json)
        if adopt is Adopt.certificate:
            values["adopted"] = project.adopt_certificate(author=author, note=note).counts()
        elif adopt is Adopt.verifier:
            values["adopted"] = project.adopt_verifier(anyway=anyway, sam=sam, author=author, note=note).counts()
        show(values, as_json, f"calibrated {folder}")


def _calibrated(found: Calibration, as_json: bool) -> dict[str, Any]:
    from workbench.loop.calibration import TABLES, figures_in_words

    values: dict[str, Any] = {"images": len(found.images), "note": found.note or None}
    values["recalibration"] = found.recalibration.method if found.recalibration else "undefined"
    for name in TABLES:
        table = getattr(found, name)
        words = figures_in_words(table) or _undefined(table.note, found.note)
        values[name] = {m.name: round(m.value, 4) for m in table.figures.values()} if as_json else words
    for name, verified in (("verifier_of_masks", found.good), ("verifier_of_images", found.complete)):
        missing = None if verified.verifier or as_json else _undefined(verified.note, found.note)
        values[name] = missing or repr(verified).removeprefix("<Verification ").removesuffix(">")
    return {**values, "calibration": found.to_dict()} if as_json else values


def _undefined(note: str, said: str) -> str:
    """Say that there is nothing, and why where that is not said already."""
    return "undefined" if note in said else f"undefined: {note}"


def _certified(project: Project, both: Certificates, as_json: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"pool": both.pool.sentence, "images_to_come": both.images.sentence}
    values |= {"drawn": both.drawn, "unlabelled": both.unlabelled}
    if both.unlabelled:
        values["to_label"] = _to_label(project, project.masks_to_verify(), as_json)
    return {**values, "certificates": both.to_dict()} if as_json else values


def _to_label(project: Project, drawn: pd.DataFrame, as_json: bool) -> list[object]:
    """Return the masks of a sample that have no label yet: ids for programs, paths and ids for people."""
    left = drawn[drawn["label"] == ""]
    paths = project.images().set_index("image_id")["path"]
    pairs = zip(left["image_id"], left["mask_id"], strict=True)
    return [[i, m] if as_json else f"{paths[i]} {m}" for i, m in pairs]


@app.command()
def gate(
    folder: Folder,
    changes: Changes = None,
    declare: Annotated[
        list[str] | None, typer.Option("--declare", metavar="CHECK=REASON", help="a check that does not apply, and why")
    ] = None,
    take_back: Annotated[
        list[str] | None,
        typer.Option("--take-back", metavar="CHECK", help="a check that was declared, and applies again"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which checks keep the gate to fully automatic annotation shut."""
    from workbench.loop.gate import GateConfig, check_declared, check_names
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        declared: dict[str, str | None] = dict(_declared(text) for text in declare or [])
        with given_as("--declare"):
            check_declared({name: reason for name, reason in declared.items() if reason is not None})
        with given_as("--take-back"):
            check_names(take_back or [])
        declared |= dict.fromkeys(take_back or [])
        report = project.gate(changed(GateConfig(), changes), declared=declared)
        if as_json:
            show(report.to_dict(), as_json, str(folder))
        else:
            typer.echo(str(report))


@app.command()
def annotate(
    folder: Folder,
    changes: Changes = None,
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="go on while the gate is shut; kept in the record")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="masks drawn for verification (200)")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="write the masks as COCO, but for those its sample shows to be wrong"
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="annotate nothing: what do labels say of the last annotation by now (-o writes it)"
        ),
    ] = False,
    propose: Annotated[
        bool, typer.Option("--propose", help="first propose, with the run's model, on images that have no proposals")
    ] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the run's model, for --propose")] = None,
    embedding_cache: Annotated[Path | None, typer.Option(help="image embeddings kept in this folder")] = None,
    as_json: AsJson = False,
) -> None:
    """Annotate fully automatically, if the gate is open, and draw masks by which that is verified.

    The settings are bounds of the gate, as `workbench gate` takes them.
    """
    from workbench import exchange, outputs
    from workbench.loop.gate import GateConfig
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        if override is not None and not override.strip():
            raise UsageError("--override: expected a reason for the record, got an empty text")
        refuse_unused("--propose", propose, {"checkpoint": checkpoint, "embedding-cache": embedding_cache})
        if verify:
            if changes or propose or override is not None or sample is not None:
                raise UsageError(
                    "--verify: expected no bounds of the gate, --override, --sample or --propose with it; nothing is annotated"
                )
            if output is not None:
                outputs.expect_target(output.expanduser(), exchange.originals(project))
            verified = project.verify_annotation()
            values = {"verification": str(verified), **verified.to_dict()}
            if verified.labelled < verified.drawn:
                values["to_label"] = _to_label(project, project.annotation_to_verify(), as_json)
            if output is not None:
                values |= _written(project, project.annotation(), output)
            show(values, as_json, f"annotated {folder}")
            return
        if output is not None:  # before the work, not after it
            outputs.expect_target(output.expanduser(), exchange.originals(project))
        config = changed(GateConfig(), changes)
        sam = _model_of(project, checkpoint, embedding_cache) if propose else None
        found = project.annotate_automatically(gate=config, override=override, sam=sam, sample=sample or 200)
        values = found.to_dict()
        if found.verified.labelled < found.verified.drawn:
            values["to_label"] = _to_label(project, project.annotation_to_verify(), as_json)
        if output is not None:
            values |= _written(project, found, output)
        if not as_json:
            left_out = (
                "gate",
                "sample",
                "drawn",
                "labelled",
                "wrong",
                "bound",
                "confidence",
            )  # in words, or for programs
            values = {name: value for name, value in values.items() if name not in left_out}
        show(values, as_json, f"annotated {folder}")


def _written(project: Project, found: Annotation, output: Path) -> dict[str, Any]:
    """Write an annotation, and return where, and how many of its masks were left out."""
    project.export_annotation(found, output.expanduser())
    left_out, left = int(found.dropped.sum()), len(found.left_since)
    values: dict[str, Any] = {"file": str(output), "left_out": left_out} if left_out else {"file": str(output)}
    if left:
        values["note"] = f"{left:,} images that people have left since are written as they left them"
    return values


def _model_of(project: Project, checkpoint: Path | None, embedding_cache: Path | None) -> Segmenter:
    """Load the model of the latest run: one that was trained here, or by its name."""
    from workbench.sam.cache import EmbeddingCache
    from workbench.sam.load import load_sam
    from workbench.store.errors import StoreError

    model_id = project.model_id
    if model_id is None:
        raise StoreError("expected proposals, there are none yet; run `workbench propose` (project.propose) first")
    cache = EmbeddingCache(embedding_cache) if embedding_cache is not None else None
    if model_id in project.models()["model_id"].tolist():
        return project.load_model(model_id, cache=cache)
    return load_sam(model_id.rpartition("-")[0], checkpoint=checkpoint, cache=cache)


def _refuse_no_share(**given: float) -> None:
    for name, value in given.items():
        if not 0 < value < 1 and not (name == "share" and value == 1):
            raise UsageError(f"--{name}: expected a number above 0 and below 1, got {value:g}")


def _declared(text: str) -> tuple[str, str]:
    name, equals, reason = text.partition("=")
    if not equals or not reason.strip():
        raise UsageError(f"--declare: expected CHECK=REASON, got {text!r}")
    return name.strip(), reason.strip()
