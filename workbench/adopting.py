"""Adoption: a certified threshold or a verifier becomes what a project's triage goes by, as a version of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.annotating import Annotating
from workbench.calibrating import what_is_missing
from workbench.config import TriageConfig
from workbench.store import calibrations
from workbench.store.calibrations import Record
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.calibrate.recalibrate import Features
    from workbench.loop.adoption import Adopted, Promise
    from workbench.sam.segmenter import Segmenter
    from workbench.tables.outcomes import Triage
    from workbench.tables.proposals import Proposals


class Adopting(Annotating):
    """The part of `Project` that has triage use what calibration found, when it is asked to and never by itself."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        super().__init__(path, catalog)
        self._models: dict[int, Adopted] = {}  # by the number of their record

    def adopt_certificate(self, promise: Promise | None = None, *, author: str = "", note: str = "") -> Triage:
        """Triage by the certified threshold from now on, as a new version: masks with a confidence above it are accepted.

        Those and no others: masks that the thresholds accept below it are flagged (low_confidence). The thresholds, area
        limits and NMS are those that the certificate was made with.

        Parameters
        ----------
        promise : "images" (of images to come) or "pool" (of this pool); None for the first of them that was granted
        author, note : kept with the version; by default the note says which certificate

        Raises
        ------
        StoreError : before the first certificate (saying why there can be none, if so), where none was granted (saying
            which labels are missing), or where the pool has changed since
        """
        from workbench.loop import adoption, certification

        kept = calibrations.latest(self.catalog, "certificate", self._run_id())
        if kept is None:
            raise StoreError(f"adopt: expected a certificate of the latest run; {what_is_missing(self.calibration())}")
        chosen, certificate = adoption.choose_certificate(kept.result, promise)
        made_of = calibrations.find(self.catalog, kept.settings["calibration"], "calibration")
        values = made_of.result["recalibration"] if made_of else None
        if made_of is None or not values:
            raise StoreError(
                f"adopt: the calibration of certificate {kept.id} is not there; calibrate and certify again"
            )
        base = self._base_of(made_of)
        if chosen == "pool" and kept.settings.get("pool") != certification.digest_of(self, base):
            raise StoreError(
                f"adopt: certificate {kept.id} is of a pool of {certificate.pool:,} masks, and the masks of the latest run "
                "are others now; certify again"
            )
        model = adoption.Adopted.from_dict({"recalibration": values, "base": base.to_dict(), "model_id": kept.model_id})
        words = f"certificate {kept.id} ({chosen}): confidence above {certificate.threshold:g}"
        return self._adopt(model, certificate.threshold, "decides", base, kept, author, note or words)

    def adopt_verifier(
        self,
        below: float = 0.5,
        *,
        anyway: bool = False,
        sam: Segmenter | None = None,
        author: str = "",
        note: str = "",
        progress: bool = True,
    ) -> Triage:
        """Have triage flag what the verifier of masks doubts, as a new version: the reason low_confidence.

        Only what would be accepted is touched; the thresholds are those used last, or, where a cycle read them off for a
        confidence, those that the campaign began with. A certified threshold that was adopted before is taken out: what a
        verifier leaves of certified masks is no longer what the certificate is about.

        Parameters
        ----------
        below : masks with a p(good) of this or less are flagged
        anyway : adopt it although it does not beat predicted IoU on calibration images
        sam : the model of the run, for a verifier that looks at its embedding: that of every image is pooled and kept.
            Images proposed on later are flagged (confidence_missing) until `measure_embedding` is called
        author, note : kept with the version; by default the note says which calibration and the gain

        Raises
        ------
        StoreError : before the first calibration, where the verifier does not beat predicted IoU, or without the model
            whose embedding it looks at
        """
        from workbench.loop import adoption, embedding

        kept = calibrations.latest(self.catalog, "calibration", self._run_id())
        found = self.calibration()
        if kept is None or found is None:
            raise StoreError("adopt: expected a calibration of the latest run; run project.calibrate() first")
        verifier = adoption.expect_useful(found.good, anyway)
        if verifier.embeds:
            embedding.expect_model(self, sam)
        reduction = found.reduction if verifier.embeds else None
        model = adoption.Adopted(verifier, found.base, reduction, kept.model_id)
        use = "" if found.good.useful else ", adopted although it does not beat it"
        words = f"verifier of calibration {kept.id}: AUROC {found.good.gain:+.3f} beside predicted IoU{use}"
        config = self.triage_config()
        # thresholds that cycles read off for a confidence of theirs let everything pass without it
        base = config if config.confidence_model is None else self._base_now()
        before = functools.partial(self._measure, sam, model, progress)
        return self._adopt(model, below, "doubts", base, kept, author, note or words, before)

    def measure_embedding(self, sam: Segmenter, *, progress: bool = True) -> int:
        """Pool SAM's embedding on the images that triage has none of yet, and triage again; return how many they were.

        Raises
        ------
        StoreError : for another model than the run's, or where triage asks for no embedding
        """
        config = self.triage_config()
        number = config.confidence_model
        model = self._adopted(number) if number is not None else None
        if model is None or number is None or model.reduction is None:
            raise StoreError("measure: triage asks for no embedding; see project.adopt_verifier")
        measured = self._measure(sam, model, progress, number)
        self.triage(config)
        return measured

    def with_confidence(self, proposals: Proposals, config: TriageConfig) -> Proposals:
        """Return the proposals of one image with the confidence that triage asks for, if it asks for one.

        Raises
        ------
        StoreError : when the record that the settings name is not one of this project's
        """
        if config.confidence is None or config.confidence_model is None:
            return proposals
        from workbench.loop import embedding

        number = config.confidence_model
        model, values = self._adopted(number), None
        if model.reduction is not None and len(proposals):
            values = embedding.of_image(self, number, str(proposals.image_id[0]), proposals, model.reduction)
        return proposals.replace(confidence=model.confidence(proposals, values))

    def keep_confidence(self, model: Adopted, settings: Mapping[str, object], images: Iterable[str]) -> int:
        """Keep a model of confidence with why and on which images it was fitted; return the number that triage names it by.

        The same once more, for the same run, has the same number.
        """
        values, names = model.to_dict(), list(images)
        kept = calibrations.latest(self.catalog, "adoption", self._run_id())
        if kept is not None and (kept.settings, kept.images, kept.result) == (dict(settings), names, values):
            return int(kept.id)
        return self._keep("adoption", dict(settings), names, values)

    def confidence_of(self, number: int, features: Features) -> NDArray[np.float64]:
        """Return (N,) p(right) by a recalibration that was kept, from features that are there already.

        Raises
        ------
        StoreError : when the number is not that of a recalibration of this project
        """
        from workbench.calibrate.recalibrate import Recalibration

        model = self._adopted(number).model
        if not isinstance(model, Recalibration):
            raise StoreError(f"confidence_of: expected record {number} to be a recalibration, it is a verifier")
        return model.predict(features)

    # ---- what the above share -------------------------------------------------------------------------------------

    def _adopt(
        self,
        model: Adopted,
        confidence: float,
        rule: Literal["doubts", "decides"],
        base: TriageConfig,
        kept: Record,
        author: str,
        note: str,
        before: Callable[[int], object] | None = None,
    ) -> Triage:
        if rule == "decides" and base.pool == "exact":
            raise StoreError("adopt: a certificate needs pool='distinct'; triage so, then calibrate and certify again")
        config = base.replace(confidence=confidence, confidence_rule=rule)
        settings = {"rule": rule, "confidence": confidence, kept.kind: kept.id, "author": author, "note": note}
        number = self.keep_confidence(model, settings, kept.images)
        if before is not None:
            before(number)
        return self.triage(config.replace(confidence_model=number), author=author, note=note)

    def _measure(self, sam: Segmenter | None, model: Adopted, progress: bool, number: int) -> int:
        from workbench.loop import embedding

        if model.reduction is None or sam is None:
            return 0
        return embedding.measure(self, sam, number, model.reduction, progress)

    def _adopted(self, number: int) -> Adopted:
        from workbench.loop.adoption import Adopted

        if number not in self._models:
            kept = calibrations.find(self.catalog, number, "adoption")
            if kept is None:
                raise StoreError(
                    f"triage: expected confidence_model to be a model that this project adopted, got {number}; see "
                    "project.adopt_certificate and project.adopt_verifier"
                )
            self._models[number] = Adopted.from_dict(kept.result)
        return self._models[number]
