"""Calibration of a project: recalibration, certificates, the gate, and fully automatic annotation behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import workbench
from workbench.reviewing import Reviewing
from workbench.store import calibrations, campaigns, records, versions
from workbench.store.calibrations import Record
from workbench.store.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.calibration import Calibration
    from workbench.loop.certification import Accepted, Certificates, Pool, Verdict
    from workbench.loop.gate import GateConfig, GateReport
    from workbench.loop.labelling import Source
    from workbench.loop.stage3 import Annotation, Verified
    from workbench.sam.segmenter import Segmenter
    from workbench.tables.figures import Interval


class Calibrating(Reviewing):
    """The part of `Project` that checks confidence and decides what may go on without people.

    Labels come from matching proposals with the truth of their images, or with the final masks of images whose review is
    complete. Images that the run's model, or one it came from, was trained on are never among them. Every result is kept
    as a record with its settings, model and images; records are never changed.
    """

    def calibrate(
        self, *, share: float = 0.5, draws: int = 500, sam: Segmenter | None = None, exhaustive: bool = True
    ) -> Calibration:
        """Judge and recalibrate the confidence of the latest run on labelled calibration images.

        Parameters
        ----------
        share : of the calibration images, drawn by content; the others are kept for `certify`
        draws : of the bootstrap over images
        sam : the model of the run: the verifier may look at its embedding, pooled over masks, too. Images are embedded
            again where its cache does not have them. None: the verifier looks at scores, geometry and the other masks of
            an image
        exhaustive : whether imported truth holds every object of its images. If not, it says of no mask that it is wrong:
            labels then come from the final masks of complete images only, for `certify` and Stage 3 too

        Returns
        -------
        Calibration; where it is undefined (no labels, one image, all right, all wrong) it says so in words

        Raises
        ------
        StoreError : when there are no proposals; ValueError : for a share outside (0, 1], or less than one draw
        """
        from workbench.loop import calibration, embedding, labelling

        if not 0 < share <= 1:
            raise ValueError(f"share: expected a share in (0, 1], got {share}")
        if draws < 1:
            raise ValueError(f"draws: expected 1 or more, got {draws}")
        run_id, model_id = self._measured_run("calibrate")
        unseen = self.unseen_images("calibration")
        images = [i for i in unseen if calibration.is_for_fitting(i, self.seed, share)]
        rows = labelling.label(self, images, source="final" if exhaustive else "final only")
        embedded = embedding.of_labelled(self, sam, rows) if sam is not None else None
        found = calibration.calibrate(rows, run_id, model_id, self.seed, draws, embedded)
        if not images:
            found = calibration.without_images(found, len(unseen), share)
        settings = {"share": share, "draws": draws, "exhaustive": exhaustive}
        number = self._keep("calibration", settings, found.images, found.to_dict())
        return self._calibration_of(found.to_dict(), found.images, number)

    def calibration(self) -> Calibration | None:
        """Return the latest calibration of the latest run; None before the first."""
        kept = calibrations.latest(self.catalog, "calibration", self._run_id())
        return self._calibration_of(kept.result, kept.images, kept.id) if kept else None

    def completeness(self, image: str) -> float | None:
        """Return the chance that the auto-accepted masks of an image are all there are, by the calibration's verifier.

        None before a calibration of the latest run, where the verifier does not beat coverage, or without proposals.
        """
        from workbench.loop import calibration

        found = self.calibration()
        if found is None:
            return None
        rows, triaged = self._shown.triaged(self._shown.latest(), self._chosen([image], None)[0].image_id or "")
        return calibration.completeness(found, rows, triaged) if len(rows) else None

    def certify(self, alpha: float = 0.05, delta: float = 0.05, *, labels: int | None = None) -> Certificates:
        """Certify that at most `alpha` of what is accepted is wrong, with confidence 1 − `delta`: of this pool, of images to come.

        For the pool, masks are drawn with equal probability, once for a calibration; each needs a label before there can
        be a certificate (`masks_to_verify` lists them). For images to come, the calibration images that had no part in
        the recalibration are used. Each certificate holds with its confidence by itself: where more labels are added until
        one is granted, it is no longer exact.

        Parameters
        ----------
        labels : masks drawn from the pool in all; None for those drawn before, 300 where none were. To more than were
            drawn before, further ones are added

        Raises
        ------
        StoreError : without a calibration; ValueError : for alpha or delta outside (0, 1), or fewer than 1 label
        """
        from workbench.calibrate.bounds import check_shares
        from workbench.loop import calibration, certification

        check_shares(alpha=alpha, delta=delta)
        kept = self.calibration()
        if kept is None or kept.recalibration is None:
            why = "run project.calibrate() (workbench calibrate) first" if kept is None else kept.note
            raise StoreError(f"certify: expected a calibration of the latest run; {why}")
        if labels is not None and labels < 1:
            raise ValueError(f"labels: expected 1 or more, got {labels}")
        pool = certification.pool_of(self, kept.recalibration)
        drawn = self._drawn(pool, labels, kept.id)
        source = self.label_source()
        looked_up = certification.Drawn.of(self, pool.image[drawn].tolist(), pool.mask_id[drawn].tolist(), source)
        of_pool, unlabelled = certification.of_pool(pool, drawn, looked_up, kept.recalibration, alpha, delta)
        others = [i for i in self.unseen_images("calibration") if i not in set(kept.images)]
        share = self._calibration_share()
        others = [i for i in others if not calibration.is_for_fitting(i, self.seed, share)]
        found = certification.Certificates(
            of_pool,
            certification.of_images(self, kept.recalibration, others, alpha, delta, self.seed, source),
            len(drawn),
            unlabelled,
        )
        settings = {"alpha": alpha, "delta": delta, "calibration": kept.id, "pool": pool.digest}
        self._keep("certificate", settings, others, found.to_dict())
        return found

    def masks_to_verify(self) -> pd.DataFrame:
        """Return image_id, mask_id and label of the masks drawn for `certify`: "right", "wrong", "crowd" (of the truth, so
        neither) or "" for none yet; as they are matched when all masks above the loosest threshold are accepted.
        """
        from workbench.calibrate.certify import GRID

        kept = calibrations.latest(self.catalog, "sample", self._run_id())
        rows = kept.result["masks"] if kept else []
        accepted = self._accepting(kept.settings if kept else {}, GRID[-1])
        return self._verdicts_frame(rows, self._labels_of(rows, accepted))

    def gate(self, config: GateConfig | None = None, *, declared: Mapping[str, str] | None = None) -> GateReport:
        """Hold the project's figures on its test images against the bounds of the gate to Stage 3.

        Parameters
        ----------
        config : bounds, and whether they are read at the worse end of the interval (default) or at the point
        declared : checks that do not apply, each with a reason; kept, and used again by the next call that names none
        """
        from workbench.loop import readiness
        from workbench.loop.gate import GateConfig

        last = calibrations.latest(self.catalog, "gate", self._run_id())
        words = dict(last.settings["declared"] if declared is None and last else declared or {})
        config = config or GateConfig()
        images = self.unseen_images("test")
        report = readiness.gate(self, self.calibration(), images, config, words)
        self._keep("gate", {"config": config.to_dict(), "declared": words}, images, report.to_dict())
        return report

    def annotate_automatically(
        self,
        images: Iterable[str] | None = None,
        *,
        override: str | None = None,
        sam: Segmenter | None = None,
        sample: int = 200,
        delta: float = 0.05,
    ) -> Annotation:
        """Accept masks without a person (Stage 3), and draw a sample of them by which they are verified.

        Masks with a confidence above the certified threshold are accepted; without a certificate, what triage accepts.

        Parameters
        ----------
        images : ids or paths; None for all that have proposals
        override : a reason to go on while the gate is shut; it is kept in the record
        sam : proposes on images that have no proposals yet
        sample : masks drawn with equal probability for verification; delta : of the bound that they give

        Raises
        ------
        GateShutError : while the gate is shut, naming the checks; StoreError : for images without proposals
        ValueError : for a sample below 1, or delta outside (0, 1)
        """
        from workbench.loop import stage3

        stage3.check_sampling(sample, delta)
        report = self.gate()
        stage3.refuse_shut(report, override)
        judged = calibrations.latest(self.catalog, "gate", self._run_id())
        gate_id = judged.id if judged else 0
        chosen = None if images is None else [str(name) for name in images]
        if sam is not None:
            self.propose(sam, images=chosen, progress=False)
        run_id, _ = self._measured_run("annotate")
        names = self._proposed(chosen, run_id)
        threshold, rule, calibrated = self._rule(names, run_id)
        accepted = stage3.accepting(calibrated.recalibration if calibrated else None, threshold)
        masks = stage3.accept(self, names, accepted)
        rows = np.sort(np.random.default_rng(self.seed).choice(len(masks), min(sample, len(masks)), replace=False))
        verdicts = self._labels_of(stage3.sample_rows(masks, rows), accepted)
        verified = stage3.verify_by(verdicts, len(masks), delta)
        reason = "" if report.open else override or ""
        found = stage3.Annotation(masks, tuple(names), rows, rule, gate_id, report.shut_by, reason, verified)
        settings = {"override": override, "threshold": threshold, "sample": sample, "delta": delta, "gate": gate_id}
        settings["calibration"] = calibrated.id if calibrated else None
        return dataclasses.replace(found, id=self._keep("annotation", settings, names, found.to_dict()))

    def verify_annotation(self) -> Verified:
        """Return what the sample of the latest automatic annotation says by the labels that there are now.

        Raises
        ------
        StoreError : before the first automatic annotation
        """
        from workbench.loop import stage3

        kept = calibrations.latest(self.catalog, "annotation", self._run_id())
        if kept is None:
            raise StoreError("verify: nothing was annotated automatically yet; see project.annotate_automatically")
        accepted = self._accepting(kept.settings, kept.settings["threshold"])
        verdicts = self._labels_of(kept.result["sample"], accepted)
        return stage3.verify_by(verdicts, kept.result["masks"], kept.settings["delta"])

    def recall_auto(self) -> Interval:
        """Return the share of true masks that an auto-accepted one matches at IoU 0.5, on all images with truth.

        Truth is what was imported, else the final masks of complete images; unknown where there is neither.
        """
        from workbench.loop import readiness

        return readiness.recall_auto(self)

    def calibration_records(self) -> pd.DataFrame:
        """Return a row for each calibration, sample, certificate, gate and annotation, the oldest first."""
        return calibrations.frame(self.catalog)

    def unseen_images(self, role: str) -> list[str]:
        """Return the images of a role that the latest run has done, without those its model was trained on.

        The role is that of the last campaign, else that of the project's split.
        """
        frame, last = self.images(), campaigns.find(self.catalog)
        pools: Mapping[str, list[str]] = last.settings["pools"] if last else {}
        given = {image: name for name, ids in pools.items() for image in ids}
        learned = versions.learned_by(self.catalog, self.model_id or "")
        done = frame[frame["status"] == "done"]
        return [
            str(image)
            for image, own in zip(done["image_id"], done["role"], strict=True)
            if given.get(image, own) == role and image not in learned
        ]

    def label_source(self) -> Source:
        """Return where labels come from, as the latest calibration was told."""
        kept = calibrations.latest(self.catalog, "calibration", self._run_id())
        return "final" if kept is None or kept.settings.get("exhaustive", True) else "final only"

    # ---- what the above share -------------------------------------------------------------------------------------

    def _rule(self, images: list[str], run_id: int) -> tuple[float | None, str, Calibration | None]:
        """Return the certified threshold for images, the rule in words, and the calibration they are by."""
        from workbench.loop import certification, stage3

        kept, calibrated = calibrations.latest(self.catalog, "certificate", run_id), self.calibration()
        recalibration = calibrated.recalibration if calibrated else None
        if kept is None or calibrated is None or recalibration is None or kept.settings["calibration"] != calibrated.id:
            return *stage3.rule_of(None, same_pool=False), calibrated
        pool = certification.pool_of(self, recalibration, images).digest
        return *stage3.rule_of(kept.result, same_pool=kept.settings.get("pool") == pool), calibrated

    def _measured_run(self, what: str) -> tuple[int, str]:
        run = self._find_run(None)
        if run is None:
            raise StoreError(
                f"{what}: expected proposals, there are none yet; run `workbench propose` (project.propose) first"
            )
        return run.id, run.model_id

    def _proposed(self, names: list[str] | None, run_id: int) -> list[str]:
        files = self._chosen(names, run_id)
        missing = [file.path for file in files if file.status != "done"]
        if names is not None and missing:
            raise StoreError(
                f"annotate: {len(missing)} of the images have no proposals by the latest run ({missing[0]} ...); "
                "give sam=..., or run `workbench propose` first"
            )
        return [str(file.image_id) for file in files if file.status == "done"]

    def _keep(self, kind: calibrations.Kind, settings: dict[str, Any], images: Iterable[str], result: Any) -> int:
        run_id, model_id = self._run_id(), self.model_id or ""
        triage = records.latest_triage(self.catalog, run_id) if run_id is not None else None
        record = Record(kind, run_id, model_id, settings, list(images), result, triage.id if triage else None)
        return calibrations.keep(self.catalog, record, workbench.__version__)

    def _calibration_of(self, values: Mapping[str, Any], images: Iterable[str], number: int) -> Calibration:
        from workbench.loop.calibration import Calibration

        run_id, model_id = self._measured_run("calibrate")
        return Calibration.from_dict(values, run_id, model_id, list(images), number)

    def _calibration_share(self) -> float:
        kept = calibrations.latest(self.catalog, "calibration", self._run_id())
        return float(kept.settings["share"]) if kept else 1.0

    def _drawn(self, pool: Pool, labels: int | None, calibration_id: int) -> NDArray[np.int64]:
        """Positions in the pool of the masks drawn for this calibration; drawn at its first certificate, added to later."""
        from workbench.loop import certification

        kept = calibrations.latest(self.catalog, "sample", self._run_id())
        rows = np.zeros(0, np.int64)
        if kept is not None and kept.settings["calibration"] == calibration_id and kept.settings["pool"] == pool.digest:
            places = {key: k for k, key in enumerate(zip(pool.image, pool.mask_id, strict=True))}
            rows = np.array([places[image, mask] for image, mask in kept.result["masks"]], np.int64)
        wanted = labels or len(rows) or certification.LABELS
        if wanted <= len(rows):
            return rows
        drawn = certification.draw(pool, wanted, self.seed, rows)
        if len(drawn) > len(rows) or not len(rows):
            masks = [[str(pool.image[k]), str(pool.mask_id[k])] for k in drawn]
            settings = {"calibration": calibration_id, "pool": pool.digest, "labels": wanted, "seed": self.seed}
            self._keep("sample", settings, dict.fromkeys(image for image, _ in masks), {"masks": masks})
        return drawn

    def _accepting(self, settings: Mapping[str, Any], threshold: float | None) -> Accepted:
        """Return what accepts by the calibration of a record, else by triage."""
        from workbench.calibrate.recalibrate import Recalibration
        from workbench.loop import stage3

        kept = calibrations.find(self.catalog, settings.get("calibration") or 0, "calibration")
        made = kept.result["recalibration"] if kept else None
        return stage3.accepting(Recalibration.from_dict(made) if made else None, threshold)

    def _labels_of(self, rows: list[list[str]], accepted: Accepted) -> list[Verdict]:
        """Return the label of masks by image and id when what is accepted is matched alone."""
        from workbench.loop.certification import Drawn

        return Drawn.of(self, [r[0] for r in rows], [r[1] for r in rows], self.label_source()).verdicts(accepted)

    def _verdicts_frame(self, rows: list[list[str]], verdicts: Iterable[str]) -> pd.DataFrame:
        import pandas as pd

        columns = {"image_id": [r[0] for r in rows], "mask_id": [r[1] for r in rows], "label": list(verdicts)}
        return pd.DataFrame(columns)
