"""Calibration of a project: recalibration, certificates, and the gate to fully automatic annotation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import workbench
from workbench.config import TriageConfig, preset_for
from workbench.reviewing import Reviewing
from workbench.store import calibrations, campaigns, records, runs, truth, versions
from workbench.store.calibrations import Record
from workbench.store.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.calibration import Calibration
    from workbench.loop.certification import Accepted, Certificates, Pool, Verdict
    from workbench.loop.gate import GateConfig, GateReport
    from workbench.loop.labelling import Labelled, Source
    from workbench.sam.segmenter import Segmenter
    from workbench.tables.figures import Interval


def what_is_missing(found: Calibration | None) -> str:
    """Say what a certificate waits for: a calibration, labels that one can be made of, or to be asked for."""
    if found is None:
        return "run project.calibrate() (workbench calibrate) first"
    if found.recalibration is None:
        return f"there is no recalibration to certify with: {found.note}"
    return "run project.certify() first"


def _kept_for(fitted: int, kept: int, share: float) -> str:
    """Say which images a certificate of images to come counts, and what it takes to have more of them."""
    if not kept:
        return f" No calibration image is kept for certificates: calibrate with a share below {share:g} (--share)."
    return (
        f" Of the calibration images those count that are kept for certificates, {kept:,}, and {fitted:,} others were fitted on: at share "
        f"{share:g} it takes {1 / (1 - share):.3g} times as many calibration images in all, or a smaller share (--share) from the start."
    )


def _source(exhaustive: bool) -> Source:
    return "final" if exhaustive else "people"


def _without_labels(rows: Labelled, images: int, exhaustive: bool) -> str:
    """Say why none of so many images gives a label: how many are known, and have masks that nobody looked at."""
    from workbench.calibrate.reliability import undefined

    blind = int((~rows.whole).sum())
    unseen = (
        f", and {blind:,} of these have masks without a verdict of their own ({rows.unseen:,} masks), which are no labels: "
        "accept or reject each"
    )
    known = "complete or have truth" if exhaustive else "complete by people's review, and truth leaves things out"
    return (
        f"{undefined(rows.right[rows.usable])}; of the {images:,} calibration images to fit on {len(rows.images):,} are "
        f"{known}{unseen if blind else ''}"
    )


class Calibrating(Reviewing):
    """The part of `Project` that checks confidence and decides what may go on without people.

    Labels come from matching proposals with the truth of their images, or with the final masks of images whose review is
    complete. Images that the run's model, or one it came from, was trained on are never among them. Every result is kept
    as a record with its settings, model and images; records are never changed.
    """

    def calibrate(
        self, *, share: float = 0.5, draws: int = 500, sam: Segmenter | None = None, exhaustive: bool | None = None
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
            labels then come from the final masks of images that people completed, for `certify`, `gate` and Stage 3 too. None:
            as the last calibration of the run was told, else the last campaign, else that it does

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
        exhaustive = self._exhaustive() if exhaustive is None else exhaustive
        unseen = self.unseen_images("calibration")
        images = [i for i in unseen if calibration.is_for_fitting(i, self.seed, share)]
        base = self._base_now()
        rows = labelling.label(self, images, source=_source(exhaustive), base=base)
        embedded = embedding.of_labelled(self, sam, rows) if sam is not None else None
        found = calibration.calibrate(rows, run_id, model_id, base, abs(self.seed), draws, embedded)
        if not images:
            found = calibration.without_images(found, len(unseen), share)
        elif not rows.usable.any():
            found = dataclasses.replace(found, note=_without_labels(rows, len(images), exhaustive))
        settings = {"share": share, "draws": draws, "exhaustive": exhaustive, "base": base.to_dict()}
        return dataclasses.replace(found, id=self._keep("calibration", settings, found.images, found.to_dict()))

    def calibration(self) -> Calibration | None:
        """Return the latest calibration of the latest run; None before the first."""
        from workbench.loop.calibration import Calibration

        run_id, model_id = self._run_id(), self.model_id or ""
        kept = calibrations.latest(self.catalog, "calibration", run_id)
        if kept is None or run_id is None:
            return None
        return Calibration.from_dict(kept.result, run_id, model_id, kept.images, kept.id, self._base_of(kept))

    def completeness(self, image: str) -> float | None:
        """Return the chance that the auto-accepted masks of an image are all there are, by the calibration's verifier.

        None before a calibration of the latest run, where the verifier does not beat coverage, or without proposals.

        Raises
        ------
        StoreError : for what is not one image that can be read
        """
        from workbench.loop import calibration
        from workbench.shown import Version

        image_id = self._image_id(image)
        kept, found = calibrations.latest(self.catalog, "calibration", self._run_id()), self.calibration()
        if kept is None or found is None:
            return None
        as_then = self._shown.latest() if kept.triage_id is None else Version(kept.run_id, kept.triage_id)
        rows, triaged = self._shown.triaged(as_then, image_id)
        return calibration.completeness(found, rows, triaged) if len(rows) else None

    def certify(self, alpha: float = 0.05, delta: float = 0.05, *, labels: int | None = None) -> Certificates:
        """Certify that at most `alpha` of what is accepted is wrong, with confidence 1 − `delta`: of this pool, of images to come.

        For the pool, masks are drawn with equal probability, once for a calibration; each needs a label before there can
        be a certificate (`masks_to_verify` lists them). For images to come, the calibration images that had no part in
        the recalibration are used. Where certificates are asked for again, by more labels or another calibration, each may be
        granted by chance: what is promised then is less sure by the deltas of those before (`Certificate.spent`).

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
            raise StoreError(f"certify: expected a calibration of the latest run; {what_is_missing(kept)}")
        if labels is not None and labels < 1:
            raise ValueError(f"labels: expected 1 or more, got {labels}")
        pool = certification.pool_of(self, kept.recalibration, kept.base)
        drawn = self._drawn(pool, labels, kept)
        source, names = self.label_source(), (pool.image[drawn].tolist(), pool.mask_id[drawn].tolist())
        looked_up = certification.Drawn.of(self, *names, source, kept.base)
        of_pool, unlabelled = certification.of_pool(pool, drawn, looked_up, kept.recalibration, alpha, delta)
        calibrated, share = set(kept.images), self._calibration_share()
        others = [i for i in self.unseen_images("calibration") if i not in calibrated]
        others = [i for i in others if not calibration.is_for_fitting(i, self.seed, share)]
        of_images = certification.of_images(
            self, kept.recalibration, kept.base, others, alpha, delta, abs(self.seed), source
        )
        if not of_images.granted and of_images.needed > of_images.labels:
            of_images = dataclasses.replace(
                of_images, note=of_images.note + _kept_for(len(kept.images), len(others), share)
            )
        before = calibrations.every(self.catalog, "certificate", self._run_id())
        earlier = [certification.Certificates.from_dict(dict(record.result)) for record in before]
        of_pool, of_images = of_pool.after([c.pool for c in earlier]), of_images.after([c.images for c in earlier])
        found = certification.Certificates(of_pool, of_images, len(drawn), unlabelled)
        labelled = sorted({*kept.images, *others, *names[0]})
        settings = {"alpha": alpha, "delta": delta, "calibration": kept.id, "pool": pool.digest, "labelled": labelled}
        settings["truth"] = list(truth.version(self.catalog, labelled))
        self._keep("certificate", settings, others, found.to_dict())
        return found

    def masks_to_verify(self) -> pd.DataFrame:
        """Return image_id, mask_id and label of the masks drawn for `certify`: "right", "wrong", "crowd" (of the truth, so
        neither) or "" for none yet; as they are matched when all masks above the loosest threshold are accepted.

        Where an image has neither truth nor a whole review, a verdict on the mask by itself is its label. `Annotator(project,
        images=...)` of the rows without one opens their images one after another with the mask chosen.
        """
        from workbench.calibrate.certify import GRID

        kept = calibrations.latest(self.catalog, "sample", self._run_id())
        rows = kept.result["masks"] if kept else []
        made_of = calibrations.find(self.catalog, kept.settings["calibration"], "calibration") if kept else None
        return self._verdicts_frame(rows, self._labels_of(rows, *self._accepting(made_of, GRID[-1])))

    def gate(self, config: GateConfig | None = None, *, declared: Mapping[str, str | None] | None = None) -> GateReport:
        """Hold the project's figures on its test images against the bounds of the gate to Stage 3.

        Parameters
        ----------
        config : bounds, and whether they are read at the worse end of the interval (default) or at the point
        declared : checks that do not apply, each with a reason, beside those declared before, which are kept; a reason of None
            takes a declaration back

        Raises
        ------
        ValueError : for an unknown check, a declaration without a reason, or one of a check that applies always
        """
        from workbench.loop import readiness
        from workbench.loop.gate import GateConfig, check_names

        last = calibrations.latest(self.catalog, "gate", self._run_id())
        every = {**(last.settings["declared"] if last else {}), **(declared or {})}
        check_names(every)
        words = {name: reason for name, reason in every.items() if reason is not None}
        config = GateConfig.given(config, "gate")
        images, of_role = self.unseen_images("test"), len(self._role_images("test"))
        report = readiness.gate(self, self.calibration(), images, config, words, self.label_source(), of_role)
        excused: list[str] = []  # a declaration is of the domains that there were when it was made
        if "domains" in (declared or {}):
            excused = sorted(set(self.images()["domain"].astype(str)))
        elif "domains" in words and last:
            excused = last.settings.get("domains", [])
        settings = {"config": config.to_dict(), "declared": words, "domains": excused}
        self._keep("gate", settings, images, report.to_dict())
        return report

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
        frame, learned = self.images(), versions.learned_by(self.catalog, self.model_id or "")
        done = set(frame["image_id"][frame["status"] == "done"])
        return [image for image in self._role_images(role) if image in done and image not in learned]

    def label_source(self) -> Source:
        """Return where labels come from, as the last calibration of the run was told, else the last campaign."""
        return _source(self._exhaustive())

    # ---- what the above share -------------------------------------------------------------------------------------

    def _exhaustive(self) -> bool:
        """Whether truth holds every object, as far as anything on record says."""
        from workbench.loop.plan import Plan

        kept, last = calibrations.latest(self.catalog, "calibration", self._run_id()), campaigns.find(self.catalog)
        if kept is not None:
            return bool(kept.settings.get("exhaustive", True))
        return last is None or bool(Plan.from_dict(dict(last.settings)).cycle.exhaustive)

    def _role_images(self, role: str) -> list[str]:
        """Return the images of a role: that of the last campaign, else that of the project's split."""
        frame, last = self.images(), campaigns.find(self.catalog)
        pools: Mapping[str, list[str]] = last.settings["pools"] if last else {}
        given = {image: name for name, ids in pools.items() for image in ids}
        own = zip(frame["image_id"], frame["role"], strict=True)
        return [str(image) for image, of_split in own if given.get(image, of_split) == role]

    def _measured_run(self, what: str) -> tuple[int, str]:
        run = runs.expect(self._find_run(None), what)
        return run.id, run.model_id

    def _keep(self, kind: calibrations.Kind, settings: dict[str, Any], images: Iterable[str], result: Any) -> int:
        run_id, model_id = self._run_id(), self.model_id or ""
        triage = records.latest_triage(self.catalog, run_id) if run_id is not None else None
        record = Record(kind, run_id, model_id, settings, list(images), result, triage.id if triage else None)
        return calibrations.keep(self.catalog, record, workbench.__version__)

    def _calibration_share(self) -> float:
        kept = calibrations.latest(self.catalog, "calibration", self._run_id())
        return float(kept.settings["share"]) if kept else 1.0

    def _base_now(self) -> TriageConfig:
        """Return the thresholds whose reasons a confidence made now looks at.

        Those of triage; where cycles read them off labels of calibration images, those that the campaign began with: what
        is certified by these images must not have been chosen by them.
        """
        from workbench.loop.labelling import without_confidence
        from workbench.loop.plan import Plan

        config, last = self.triage_config(), campaigns.find(self.catalog)
        by_cycles = campaigns.of_campaign(self.catalog, last.id) if last else []
        read_off = [
            c.state.get("thresholds", {}).get("settings") for c in by_cycles if c.state.get("run_id") == self._run_id()
        ]
        taken_up = calibrations.find(self.catalog, config.confidence_model or 0, "adoption")
        by_cycle = taken_up is not None and "cycle" in taken_up.settings  # whatever was moved since
        if last is not None and (by_cycle or config.to_dict() in read_off):
            config = Plan.from_dict(dict(last.settings)).pooled
        return without_confidence(config)

    def _base_of(self, kept: Record) -> TriageConfig:
        """Return the thresholds whose reasons the confidence of a calibration looks at."""
        from workbench.loop.labelling import without_confidence

        if "base" in kept.settings:
            return TriageConfig.from_dict(kept.settings["base"])
        version = None if kept.triage_id is None else records.find_triage(self.catalog, kept.triage_id)
        config = TriageConfig.from_dict(version.settings) if version else preset_for(kept.model_id).triage
        return without_confidence(config)

    def _drawn(self, pool: Pool, labels: int | None, calibration: Calibration) -> NDArray[np.int64]:
        """Positions in the pool of the masks drawn for this calibration; drawn at its first certificate, added to later."""
        from workbench.loop import certification

        kept = calibrations.latest(self.catalog, "sample", self._run_id())
        key = {"calibration": calibration.id, "pool": pool.digest, "thresholds": calibration.base.digest}
        rows = np.zeros(0, np.int64)
        if kept is not None and {"thresholds": self._base_of(kept).digest, **kept.settings}.items() >= key.items():
            places = {key: k for k, key in enumerate(zip(pool.image, pool.mask_id, strict=True))}
            rows = np.array([places[image, mask] for image, mask in kept.result["masks"]], np.int64)
        wanted = labels or len(rows) or certification.LABELS
        if wanted <= len(rows):
            return rows
        drawn = certification.draw(pool, wanted, (abs(self.seed), calibration.digest), rows)
        if len(drawn) > len(rows) or not len(rows):
            masks = [[str(pool.image[k]), str(pool.mask_id[k])] for k in drawn]
            settings = {**key, "labels": wanted, "seed": self.seed}
            self._keep("sample", settings, dict.fromkeys(image for image, _ in masks), {"masks": masks})
        return drawn

    def _accepting(
        self, made_of: Record | None, threshold: float | None, triage_id: int | None = None
    ) -> tuple[Accepted, TriageConfig]:
        """Return what accepts, and the thresholds under which it looks at a mask.

        Confidence above a threshold, by a calibration and the thresholds it was made with; else triage, by the version that
        is given or the one used last.
        """
        from workbench.calibrate.recalibrate import Recalibration
        from workbench.loop import stage3

        made = made_of.result["recalibration"] if made_of and threshold is not None else None
        if made_of and made:
            return stage3.accepting(Recalibration.from_dict(made), threshold), self._base_of(made_of)
        version = None if triage_id is None else records.find_triage(self.catalog, triage_id)
        config = TriageConfig.from_dict(version.settings) if version else self.triage_config()
        return stage3.accepting(None, None), config

    def _labels_of(
        self, rows: list[list[str]], accepted: Accepted, config: TriageConfig, run: int | None = None
    ) -> list[Verdict]:
        """Return the label of masks of a run, the latest if none is named, by image and id when what is accepted is matched alone."""
        from workbench.loop.certification import Drawn

        names = [r[0] for r in rows], [r[1] for r in rows]
        return Drawn.of(self, *names, self.label_source(), config, run).verdicts(accepted)

    def _verdicts_frame(self, rows: list[list[str]], verdicts: Iterable[str]) -> pd.DataFrame:
        import pandas as pd

        columns = {"image_id": [r[0] for r in rows], "mask_id": [r[1] for r in rows], "label": list(verdicts)}
        return pd.DataFrame(columns)
