"""Calibration of a run: confidence before and after recalibration on labelled images, and the verifier beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.crossvalidation import Tried
from workbench.calibrate.recalibrate import Features, Recalibration, choose
from workbench.calibrate.reduction import Reduction
from workbench.calibrate.reliability import ReliabilityTable, reliability
from workbench.calibrate.verifier import COMPLETE, GOOD, Verification, verify
from workbench.config import TriageConfig
from workbench.images import assign_role
from workbench.loop.embedding import OF_IMAGES, OF_MASKS, Embedded
from workbench.loop.labelling import Labelled
from workbench.plotted import Plotted
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals

TABLES = ("before", "after", "before_auto", "after_auto")


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration(Plotted):
    """Confidence of a run's distinct proposals, judged on labelled images.

    before, after : predicted IoU read as a probability, and p(right) by recalibrations that had not seen the image, on
        distinct proposals; before_auto, after_auto : on the auto-accepted ones
    tried : the methods compared by cross-validation over images; recalibration : the chosen one, None where undefined
    good, complete : the verifier of masks and of images, beside predicted IoU and beside coverage
    reduction : of SAM's embedding pooled over masks, fitted on these images; None where it was left out
    base : the thresholds whose reasons confidence looks at, whatever triage goes by since
    images : it was made from; note : what is undefined or left out
    """

    run_id: int
    model_id: str
    before: ReliabilityTable
    after: ReliabilityTable
    before_auto: ReliabilityTable
    after_auto: ReliabilityTable
    tried: tuple[Tried, ...]
    recalibration: Recalibration | None
    good: Verification
    complete: Verification
    images: tuple[str, ...]
    base: TriageConfig
    note: str = ""
    id: int = 0
    reduction: Reduction | None = None

    def __str__(self) -> str:
        method = self.recalibration.method if self.recalibration else "undefined"
        lines = [f"Calibration of run {self.run_id} on {len(self.images):,} images; recalibration: {method}"]
        for name in TABLES:
            table: ReliabilityTable = getattr(self, name)
            shown = ", ".join(figures_in_words(table)) or f"undefined: {table.note}"
            lines.append(f"  {name.replace('_', ', '):12} {table.what}: {shown}")
        lines += [f"  {self.good!r}", f"  {self.complete!r}"]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    __repr__ = __str__

    @property
    def digest(self) -> int:
        """A number that is equal for equal recalibrations over equal thresholds."""
        made = self.recalibration.to_dict() if self.recalibration else None
        text = json.dumps([made, self.base.to_dict()], sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; recalibration and verifiers as arrays, to the bit."""
        return {
            **{name: getattr(self, name).to_dict() for name in TABLES},
            "tried": [t._asdict() for t in self.tried],
            "recalibration": self.recalibration.to_dict() if self.recalibration else None,
            "good": self.good.to_dict(),
            "complete": self.complete.to_dict(),
            "reduction": self.reduction.to_dict() if self.reduction else None,
            "note": self.note,
        }

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        run_id: int,
        model_id: str,
        images: Sequence[str],
        number: int,
        base: TriageConfig,
    ) -> Calibration:
        """Build it from what `to_dict` gave and its record."""
        tables = {name: ReliabilityTable.from_dict(values[name]) for name in TABLES}
        kept, reduction = values["recalibration"], values.get("reduction")
        return cls(
            run_id,
            model_id,
            **tables,
            tried=tuple(Tried(**row) for row in values["tried"]),
            recalibration=Recalibration.from_dict(kept) if kept else None,
            good=Verification.from_dict(values["good"]),
            complete=Verification.from_dict(values["complete"]),
            images=tuple(images),
            base=base,
            note=values["note"],
            id=number,
            reduction=Reduction.from_dict(reduction) if reduction else None,
        )


def figures_in_words(table: ReliabilityTable) -> list[str]:
    """Return each figure with its interval, and what a perfectly calibrated model would show; none where undefined."""
    found = []
    for figure in (table[name] for name in ("ece", "smooth_ece", "brier_skill", "auroc")):
        if not np.isfinite(figure.value):
            continue
        ends = f" [{figure.low:.3f}, {figure.high:.3f}]" if np.isfinite(figure.low) else ""
        perfect = f" (perfect {figure.perfect:.3f})" if np.isfinite(figure.perfect) else ""
        found.append(f"{figure.name} {figure.value:.3f}{ends}{perfect}")
    return found if np.isfinite(table["ece"].value) else []


def without_images(found: Calibration, unseen: int, share: float) -> Calibration:
    """Say of a calibration of no image why there was none.

    unseen : calibration images with proposals of the run, whose model did not learn from them
    """
    why = (
        "there are no calibration images with proposals; the project's images have roles (project.images()), by the shares "
        "it was made with: add images (project.add_images), of which some calibrate, or make it anew with other shares "
        "(roles=, workbench init --roles)"
    )
    if unseen:
        kept = "the one calibration image is" if unseen == 1 else f"all {unseen:,} calibration images are"
        why = (
            f"{kept} kept for certificates, drawn by content at a share of {share:g} to fit on: add images, or fit on all "
            "(share=1, --share 1), which leaves none for a certificate of images to come"
        )
    tables = {name: dataclasses.replace(getattr(found, name), note=why) for name in TABLES}
    verified = {name: dataclasses.replace(getattr(found, name), note=why) for name in ("good", "complete")}
    return dataclasses.replace(found, note=why, **tables, **verified)


def is_for_fitting(image_id: str, seed: int, share: float) -> bool:
    """Whether a calibration image is for fitting; the others are kept for certificates. Drawn by content, as roles."""
    return assign_role(image_id, seed + 1, (share, 1 - share, 0)) == "train"


def calibrate(
    rows: Labelled,
    run_id: int,
    model_id: str,
    base: TriageConfig,
    seed: int,
    draws: int = 500,
    embedded: Embedded | None = None,
) -> Calibration:
    """Judge and recalibrate the confidence of labelled proposals; the verifier may look at SAM's embedding too.

    Images with proposals that have no label are left out: what is left of them are the masks that triage doubted. The
    embedding is reduced by principal components of these images, without a look at their labels.
    """
    rng, whole, known = np.random.default_rng(seed), rows.whole, rows.usable
    right, image = rows.right[known], rows.image[known]
    features, auto = rows.features.select(known), rows.auto[known]
    choice = choose(features, right, image, seed=seed)
    score = features.score
    ious = {"predicted_iou": score, "true_iou": rows.true_iou[known]}
    tables, accepted = [], rows.comparison.verdicts(rows.auto)  # matched alone, as `fp_rate` counts them
    of_auto = accepted.right[known]
    sure = auto & (of_auto | accepted.wrong[known])
    for some, y, what in (
        (np.ones(len(right), bool), right, "distinct proposals"),
        (sure, of_auto, "auto-accepted masks"),
    ):
        of = {name: column[some] for name, column in ious.items()}
        tables.append(
            reliability(
                score[some], y[some], image[some], rng, what=what, draws=draws, images_looked_at=int(whole.sum()), **of
            )
        )
        defined = some if choice.chosen else np.zeros(len(some), bool)
        after = reliability(choice.held_out[defined], y[defined], image[defined], rng, what=what, draws=draws)
        tables.append(after if choice.chosen or not len(right) else dataclasses.replace(after, note=choice.note))
    reduction = Reduction.fit(embedded.masks, OF_MASKS) if embedded and len(embedded.masks) else None
    further = Features(reduction.names, reduction.apply(embedded.masks[known])) if embedded and reduction else None
    good = verify(features, right, image, features.score, rng, question=GOOD, draws=draws, seed=seed, embedding=further)
    notes = [choice.note] if choice.note else []
    if not whole.all():
        notes.append(
            f"{(~whole).sum():,} of {len(whole):,} images left out: {rows.unseen:,} of their final masks were not looked at "
            "one by one"
        )
    return Calibration(
        run_id,
        model_id,
        tables[0],
        tables[1],
        tables[2],
        tables[3],
        choice.tried,
        choice.chosen,
        good,
        _of_images(rows, rng, draws, seed, embedded),
        tuple(np.array(rows.images, object)[whole].tolist()),
        base,
        "; ".join(notes),
        reduction=reduction,
    )


IMAGE_COLUMNS = ("auto_accepted", "flagged", "discarded", "flagged_score", "best_discarded", "covered")


def _image_values(
    outcome: NDArray[np.uint8], score: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the columns of an image: of its distinct masks outcome, predicted IoU and share of the image, (N,) each."""
    score = np.nan_to_num(score)
    auto, flagged, discarded = (outcome == code for code in (Outcome.auto_accepted, Outcome.flagged, Outcome.discarded))
    sums = score[flagged].sum(), max(0.0, score[discarded].max(initial=0.0)), min(share[auto].sum(), 1.0)
    return np.array([auto.sum(), flagged.sum(), discarded.sum(), *sums], np.float64)


def completeness(found: Calibration, rows: Proposals, triaged: Triage) -> float | None:
    """Return the chance that the auto-accepted masks of an image are all there are, by the verifier of images.

    None where it does not beat coverage, or looks at an embedding that is not at hand.
    """
    verifier = found.complete.verifier
    if verifier is None or not found.complete.useful or verifier.embeds:
        return None
    some = triaged.distinct
    share = rows.area_px[some] / np.maximum(rows.sizes_hw[some].astype(np.float64).prod(axis=1), 1)
    values = _image_values(triaged.outcome[some], rows.predicted_iou[some].astype(np.float64), share)
    return float(verifier.predict(Features(IMAGE_COLUMNS, values[None]))[0])


def _of_images(
    rows: Labelled, rng: np.random.Generator, draws: int, seed: int, embedded: Embedded | None
) -> Verification:
    """Verify "is this image complete?": whether the auto-accepted masks match every true one; beside coverage."""
    c = rows.comparison
    images = len(c.image_ids)
    share = np.exp(rows.features.values[:, rows.features.names.index("log_area_share")])
    order = np.argsort(c.image_of_row, kind="stable")
    cuts = np.searchsorted(c.image_of_row[order], np.arange(1, images))
    parts = np.split(order, cuts) if images else []
    values = np.array([_image_values(rows.outcome[k], rows.features.score[k], share[k]) for k in parts])
    values = values.reshape(images, len(IMAGE_COLUMNS))
    covered = values[:, -1]
    missed = np.bincount(c.image_of_truth[~c.found(rows.auto, 0.5) & ~c.ignore], minlength=images)
    yes, ids = missed == 0, np.array(c.image_ids, dtype=object)
    some, further = c.labelled & rows.whole, None
    if embedded and len(embedded.images):
        reduction = Reduction.fit(embedded.images, OF_IMAGES)
        further = Features(reduction.names, reduction.apply(embedded.images)[some])
    return verify(
        Features(IMAGE_COLUMNS, values[some]), yes[some], ids[some].astype(str), covered[some], rng,
        question=COMPLETE, draws=draws, seed=seed, embedding=further,
    )  # fmt: skip
