"""Models of confidence that a project's triage takes up: a certificate's or a cycle's, which decides, a verifier that doubts (B1, B3).

What is adopted is kept as a record with its model and the thresholds under which the model looks at a mask, so that the
confidence of a mask is the same whenever it is asked for. The new triage names the record; older versions stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

import workbench
from workbench.calibrate.certify import Certificate
from workbench.calibrate.recalibrate import Features, Recalibration
from workbench.calibrate.reduction import Reduction
from workbench.calibrate.verifier import Verification, Verifier
from workbench.config import TriageConfig
from workbench.loop.labelling import features_of
from workbench.store.errors import StoreError
from workbench.tables.proposals import Proposals

Promise = Literal["images", "pool"]


@dataclasses.dataclass(frozen=True, eq=False)
class Adopted:
    """A model that gives the confidence of masks.

    model : of p(right); base : the thresholds whose reasons it looks at
    reduction : of SAM's embedding, for a verifier that looks at it; model_id : of the SAM whose masks it was fitted on
    """

    model: Recalibration | Verifier
    base: TriageConfig
    reduction: Reduction | None = None
    model_id: str = ""

    def confidence(self, proposals: Proposals, embedding: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return (N,) p(right) of the proposals of an image; NaN without a score, or without the embedding it looks at.

        Parameters
        ----------
        embedding : (N, k) reduced; None where it was not measured

        Raises
        ------
        StoreError : for masks of another model
        """
        others = set(proposals.model_id.tolist()) - {self.model_id}
        if self.model_id and others:
            raise StoreError(
                f"triage: the confidence was adopted for masks of {self.model_id}, these are of {min(others)}: calibrate "
                "on the new run and adopt again, or triage without a confidence"
            )
        if self.reduction is not None and embedding is None:
            return np.full(len(proposals), np.nan)
        features = features_of(proposals, workbench.triage(proposals, self.base))
        seen = features
        if self.reduction is not None:
            seen = features.beside(Features(self.reduction.names, np.asarray(embedding, np.float64)))
        return np.where(features.scored, self.model.predict(seen), np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        kind = "recalibration" if isinstance(self.model, Recalibration) else "verifier"
        reduction = self.reduction.to_dict() if self.reduction else None
        return {
            kind: self.model.to_dict(),
            "base": self.base.to_dict(),
            "reduction": reduction,
            "model_id": self.model_id,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Adopted:
        """Build it from what `to_dict` gave."""
        base = TriageConfig.from_dict(values["base"])
        if "recalibration" in values:
            return cls(Recalibration.from_dict(values["recalibration"]), base, None, values["model_id"])
        reduction = values.get("reduction")
        found = Reduction.from_dict(reduction) if reduction else None
        return cls(Verifier.from_dict(values["verifier"]), base, found, values["model_id"])


def choose_certificate(certificates: Mapping[str, Any], promise: Promise | None) -> tuple[Promise, Certificate]:
    """Return the certificate that was asked for; the one for images to come goes first.

    Raises
    ------
    StoreError : where it was not granted, with the labels that are missing
    """
    if promise not in (None, "images", "pool"):
        raise ValueError(f"promise: expected images, pool or None, got {promise!r}")
    asked: tuple[Promise, ...] = (promise,) if promise else ("images", "pool")
    found = [(kind, Certificate.from_dict(certificates[kind])) for kind in asked]
    for kind, certificate in found:
        if certificate.granted:
            return kind, certificate
    raise StoreError("adopt: there is no certificate to adopt.\n" + "\n".join(f"  {c.sentence}" for _, c in found))


def expect_useful(found: Verification, anyway: bool) -> Verifier:
    """Return the verifier of a comparison, if it beats the score there is already or is wanted all the same.

    Raises
    ------
    StoreError : with the comparison in words
    """
    if found.verifier is None:
        raise StoreError(f"adopt: there is no verifier: {found.note}")
    if not found.useful and not anyway:
        raise StoreError(
            "adopt: the verifier does not beat predicted IoU on calibration images: AUROC "
            f"{found.auroc:.3f} beside {found.baseline_auroc:.3f}, gain {found.gain:+.3f} [{found.low:+.3f}, "
            f"{found.high:+.3f}], whose lower end is not above 0, on {found.n:,} masks of {found.images:,} images; review "
            "more calibration images and calibrate again, or adopt it all the same with anyway=True (--anyway)"
        )
    return found.verifier
