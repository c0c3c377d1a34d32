"""Stage 3 of a project: fully automatic annotation behind the gate, and its verification by a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench import exchange
from workbench.calibrating import Calibrating
from workbench.config import ProposeConfig, TriageConfig
from workbench.store import calibrations, runs, truth
from workbench.store.calibrations import Record
from workbench.store.errors import StoreError
from workbench.store.runs import listed
from workbench.tables.proposals import Proposals, digest_of_masks

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.certification import Accepted, Verdict
    from workbench.loop.gate import GateConfig
    from workbench.loop.stage3 import Annotation, Rule, Verified
    from workbench.sam.segmenter import Segmenter


class Annotating(Calibrating):
    """The part of `Project` that accepts masks without a person, once the gate is open or overridden."""

    def annotate_automatically(
        self,
        images: Iterable[str] | None = None,
        *,
        gate: GateConfig | None = None,
        override: str | None = None,
        sam: Segmenter | None = None,
        sample: int = 200,
        delta: float = 0.05,
    ) -> Annotation:
        """Accept masks without a person (Stage 3), and draw a sample of them by which they are verified.

        Masks with a confidence above the certified threshold are accepted, by the thresholds that the certificate was made
        with; without a certificate, what triage accepts. Images that people left, complete or skipped, are passed over, and
        what they rejected on others stays out.

        Parameters
        ----------
        images : ids or paths; None for all that have proposals
        gate : bounds that the gate is held to, as `gate` takes them; the conservative ones when not given
        override : a reason to go on while the gate is shut, or has not measured what is accepted; it is kept in the record
        sam : the model of the run that the gate judged: it proposes, as that run did, on images that have no proposals yet
        sample : masks drawn with equal probability for verification, other ones whenever other masks are accepted; delta : of
            the bound that they give, of each annotation for itself

        Raises
        ------
        GateShutError : while the gate is shut, naming the checks; or where it has not measured what is to be accepted: by a
            certificate that triage has not adopted, or on images of a domain without test images
        StoreError : for images without proposals, for another model than the gate judged, or when people left all images
        ValueError : for a sample below 1, or delta outside (0, 1)
        """
        from workbench.loop import stage3

        stage3.check_sampling(sample, delta)
        stage3.check_override(override)
        report = self.gate(gate)
        if override is None:
            stage3.refuse_shut(report)
        judged = calibrations.latest(self.catalog, "gate", self._run_id())
        gate_id = judged.id if judged else 0
        excused = judged.settings.get("domains", []) if judged else []
        chosen = None if images is None else listed(images)
        if sam is not None:
            self._propose_alike(sam, chosen)
        run_id, _ = self._measured_run("annotate")
        every = self._proposed(chosen, run_id)
        names = self._left_to_do(every)
        by, made_of = self._rule(every, run_id)
        beyond = list(stage3.unmeasured(report, by, self._goes_by(by, made_of, run_id), self._domains(names), excused))
        if override is None:
            stage3.refuse_unmeasured(beyond)
        threshold, (accepted, config) = by.threshold, self._accepting(made_of, by.threshold)
        masks = stage3.accept(self, names, accepted, config)
        masks = masks.select(~np.isin(masks.mask_id.astype(str), self._rejected(names)))
        rule = by.of(len(masks))
        # of other masks another sample: by the seed alone it would be the last one without those found wrong
        which = digest_of_masks(zip(masks.image_id.tolist(), masks.mask_id.tolist(), strict=True))
        rng = np.random.default_rng([abs(self.seed), int(which, 16)])
        rows = np.sort(rng.choice(len(masks), min(sample, len(masks)), replace=False))
        verdicts = self._labels_of(stage3.sample_rows(masks, rows), accepted, config)
        verified = stage3.verify_by(verdicts, len(masks), delta)
        shut_by = (*report.shut_by, *(what for what, _ in beyond))
        without = 0 if chosen is not None else len(self._chosen(None, run_id)) - len(every)
        found = stage3.Annotation(
            masks,
            tuple(names),
            rows,
            rule,
            gate_id,
            shut_by,
            (override or "") if shut_by else "",
            verified,
            _at(rows[[v == "wrong" for v in verdicts]], len(masks)),
            len(every) - len(names),
            without,
            run_id,
            bounds=report.moved,
        )
        settings = {"override": override, "threshold": threshold, "sample": sample, "delta": delta, "gate": gate_id}
        settings["calibration"] = made_of.id if made_of else None
        accepted_ids = {image: masks.mask_id[of_image].tolist() for image, of_image in masks.by_image()}
        result = {**found.to_dict(), "accepted": accepted_ids}
        return dataclasses.replace(found, id=self._keep("annotation", settings, names, result))

    def annotation(self) -> Annotation:
        """Return the latest automatic annotation, with what its sample says by the labels that there are now.

        Raises
        ------
        StoreError : before the first automatic annotation, or where an earlier version of workbench made it, which kept no masks
        """
        from workbench.loop import certification, stage3

        kept, verdicts = self._annotation_labels()
        said = kept.result
        if "accepted" not in said:
            raise StoreError("annotation: the latest one was made before its masks were kept with it; annotate again")
        _, config = self._accepting_of(kept)
        found = certification.each_candidate(self, list(said["accepted"]), kept.run_id, config)
        masks = Proposals.concat(
            [own.rows.select(np.isin(own.rows.mask_id, said["accepted"][own.image_id])) for own in found]
        )
        places = {key: k for k, key in enumerate(zip(masks.image_id, masks.mask_id, strict=True))}
        sample = np.array([places[image, mask] for image, mask in said["sample"]], np.int64)
        left = set(self.reviewed_images()) & set(kept.images)
        turned_down = np.isin(masks.mask_id.astype(str), self._rejected(list(kept.images)))
        wrong = _at(sample[[v == "wrong" for v in verdicts]], len(masks))
        return stage3.Annotation(
            masks,
            tuple(kept.images),
            sample,
            said["rule"],
            said["gate"],
            tuple(said["shut_by"]),
            said["override"],
            stage3.verify_by(verdicts, len(masks), kept.settings["delta"]),
            wrong | turned_down | np.isin(masks.image_id.astype(str), list(left)),
            said["passed_over"],
            said["without_proposals"],
            kept.run_id or 0,
            kept.id,
            tuple(sorted(left)),
            said["bounds"],
        )

    def verify_annotation(self) -> Verified:
        """Return what the sample of the latest automatic annotation says by the labels that there are now.

        Raises
        ------
        StoreError : before the first automatic annotation
        """
        from workbench.loop import stage3

        kept, verdicts = self._annotation_labels()
        return stage3.verify_by(verdicts, kept.result["masks"], kept.settings["delta"])

    def annotation_to_verify(self) -> pd.DataFrame:
        """Return image_id, mask_id and label of the masks drawn to verify the latest automatic annotation.

        label : as in `masks_to_verify`. `Annotator(project, images=...)` of the rows without one opens their images one after
            another with the mask chosen; its verdict is the label, whether the image is left or not

        Raises
        ------
        StoreError : before the first automatic annotation
        """
        kept, verdicts = self._annotation_labels()
        return self._verdicts_frame(kept.result["sample"], verdicts)

    def export_annotation(self, annotation: Annotation, path: str | Path) -> None:
        """Write what `annotate_automatically` accepted as COCO, with an entry for each image it annotated.

        Masks that the sample shows to be wrong are left out; of `annotation()` also what people have turned down or corrected since.
        Images that they have left since are written as they left them.

        Raises
        ------
        OutputError (a ValueError) : for a file of the project or one of its images; OSError : when it cannot be written
        """
        left = list(annotation.left_since)
        exchange.export_annotation(self, path, annotation, self.final_masks(left) if left else Proposals.empty())

    # ---- what the above share -------------------------------------------------------------------------------------

    def _annotation_labels(self) -> tuple[Record, list[Verdict]]:
        kept = calibrations.latest_of_any_run(self.catalog, "annotation")
        if kept is None:
            raise StoreError("verify: nothing was annotated automatically yet; see project.annotate_automatically")
        return kept, list(self._labels_of(kept.result["sample"], *self._accepting_of(kept), kept.run_id))

    def _accepting_of(self, kept: Record) -> tuple[Accepted, TriageConfig]:
        """Return what accepted the masks of an annotation, and the thresholds under which it looked at them."""
        made_of = calibrations.find(self.catalog, kept.settings["calibration"] or 0, "calibration")
        return self._accepting(made_of, kept.settings["threshold"], kept.triage_id)

    def _goes_by(self, by: Rule, made_of: Record | None, run_id: int) -> bool:
        """Return whether triage goes by a certified threshold, with the confidence and thresholds it was certified with."""
        from workbench.loop.labelling import without_confidence

        config = self.triage_config(run_id)
        if made_of is None or config.confidence_rule != "decides" or config.confidence != by.threshold:
            return False
        taken_up = calibrations.find(self.catalog, config.confidence_model or 0, "adoption")
        same = taken_up is not None and taken_up.result.get("recalibration") == made_of.result["recalibration"]
        return same and without_confidence(config) == self._base_of(made_of)

    def _domains(self, images: list[str]) -> Mapping[str, int]:
        """Return how many of the images are of each domain."""
        frame = self.images()
        counts = frame["domain"][frame["image_id"].isin(images)].value_counts()
        return {str(name): int(n) for name, n in counts.items()}

    def _propose_alike(self, sam: Segmenter, images: list[str] | None) -> None:
        """Propose on images as the run did that the gate judged. Raises StoreError for another model."""
        judged = runs.find(self.catalog, None)
        if judged is not None and sam.model_id != judged.model_id:
            raise StoreError(
                f"annotate: the gate judged run {judged.id} of {judged.model_id}, and says nothing of {sam.model_id}; give that "
                "model, or let the other one propose (project.propose), then calibrate it and ask the gate again"
            )
        config = ProposeConfig.from_dict(judged.settings) if judged is not None else None
        self.propose(sam, config, images=images, progress=False)

    def _left_to_do(self, images: list[str]) -> list[str]:
        """Return the images that people have not left. Raises StoreError where there are none."""
        left = set(self.reviewed_images())
        names = [image for image in images if image not in left]
        if images and not names:
            raise StoreError(
                f"annotate: people left all {len(images):,} images, complete or skipped, and what they decided stands "
                '(project.proposals(outcome="final"), workbench export); add or name other images'
            )
        return names

    def _rejected(self, images: list[str]) -> list[str]:
        """Return the ids of masks of images that people looked at and did not leave as they are: rejected, or corrected."""
        begun = set(self.reviewed()["image_id"]) & set(images)
        reviews = [self.image_review(image) for image in sorted(begun)]
        return [str(mask) for review in reviews for mask in review.masks.mask_id[review.looked_at & ~review.final]]

    def _rule(self, images: list[str], run_id: int) -> tuple[Rule, Record | None]:
        """Return the certified threshold for images, or that there is none, and the calibration it is by."""
        from workbench.loop import certification, stage3

        kept, calibrated = calibrations.latest(self.catalog, "certificate", run_id), self.calibration()
        made_of = calibrations.latest(self.catalog, "calibration", run_id)
        recalibration = calibrated.recalibration if calibrated else None
        if kept is None or calibrated is None or recalibration is None or kept.settings["calibration"] != calibrated.id:
            return stage3.rule_of(None, same_pool=False), made_of
        of_then = kept.settings.get("labelled")  # records of before do not say it
        if of_then is not None and kept.settings["truth"] != list(truth.version(self.catalog, of_then)):
            said = "the ground truth that the certificate was made from was replaced since: calibrate and certify again"
            return stage3.Rule(None, f"auto-accepted by triage; {said}"), made_of
        same_pool = kept.settings.get("pool") == certification.digest_of(self, calibrated.base, images)
        return stage3.rule_of(kept.result, same_pool=same_pool), made_of

    def _proposed(self, names: list[str] | None, run_id: int) -> list[str]:
        files = self._chosen(names, run_id)
        missing = [file.path for file in files if file.status != "done"]
        if names is not None and missing:
            raise StoreError(
                f"annotate: {len(missing)} of the images have no proposals by the latest run ({missing[0]} ...); "
                "give sam=..., or run `workbench propose` first"
            )
        return [str(file.image_id) for file in files if file.status == "done"]


def _at(places: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return (length,) True at places."""
    flags = np.zeros(length, bool)
    flags[places] = True
    return flags
