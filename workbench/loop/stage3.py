"""Stage 3: fully automatic annotation, open only when the gate is, verified by a sample of masks (G3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.calibrate.bounds import check_shares, hypergeometric_upper, percent, percent_up
from workbench.calibrate.recalibrate import Recalibration
from workbench.config import TriageConfig
from workbench.loop.certification import Accepted, Verdict, above, each_candidate
from workbench.loop.gate import GateReport
from workbench.plain import plain
from workbench.tables.outcomes import Outcome
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing


GO_ON = "or go on all the same with override='reason' (--override REASON), which is kept in the record"
GIVE_SAM = ": give its model (sam=, --propose), and it proposes on them"


class GateShutError(ValueError):
    """Stage 3 was asked for while the gate is shut; the message names the checks that keep it shut."""


def check_override(override: str | None) -> None:
    """Refuse an override without a reason. Raises ValueError."""
    if override is not None and not (isinstance(override, str) and override.strip()):
        raise ValueError(f"override: expected a reason for the record, in words, got {override!r}")


def refuse_shut(report: GateReport) -> None:
    """Let pass when the gate is open. Raises GateShutError, naming the checks."""
    if report.open:
        return
    checks = "\n".join(f"  {line}" for line in report.shut_by)
    raise GateShutError(
        f"the gate to fully automatic annotation is shut:\n{checks}\n"
        "measure more, declare what does not apply (project.gate(declared={name: reason}), workbench gate DIR --declare "
        f"CHECK=REASON), hold the gate to bounds of yours here too (gate=, --set NAME=VALUE), {GO_ON}"
    )


def unmeasured(
    report: GateReport, rule: Rule, adopted: bool, domains: Mapping[str, int], excused: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield what the gate has not measured of what is about to be accepted, and what to do about it.

    Parameters
    ----------
    adopted : whether triage, whose masks the gate measures, goes by the certificate of the rule
    domains : images to annotate, by domain; excused : domains that were there when they were declared not applicable
    """
    if rule.threshold is not None and not adopted:
        yield (
            f"the gate has measured what triage accepts, and the masks with a {rule.words} are others",
            "adopt that certificate (project.adopt_certificate(), workbench calibrate --adopt certificate) and ask the gate again",
        )
    known = report.measured.get("domains")
    unknown = {} if known is None else {name: n for name, n in domains.items() if name not in {*known, *excused}}
    if unknown:
        named = ", ".join(f"{name or 'none'} ({n:,} images)" for name, n in sorted(unknown.items()))
        yield (
            f"the gate has measured no test image of the domains {named}",
            "leave these images out (images=), give test images of them truth or a whole review and ask the gate again, or declare "
            "domains not applicable with a reason",
        )


def refuse_unmeasured(found: Iterable[tuple[str, str]]) -> None:
    """Let pass where the gate has measured everything, by what `unmeasured` found. Raises GateShutError."""
    if said := [f"{what}: {then}" for what, then in found]:
        raise GateShutError("; ".join([*said, GO_ON]))


def check_sampling(sample: int, delta: float) -> None:
    """Refuse a verification that could say nothing. Raises ValueError."""
    if sample < 1:
        raise ValueError(f"sample: expected 1 or more masks to draw for verification, got {sample}")
    check_shares(delta=delta)


@dataclasses.dataclass(frozen=True, eq=False)
class Verified:
    """What a sample of masks, drawn with equal probability, says of all of them.

    drawn, labelled, wrong : masks; bound : upper bound on the share wrong at `confidence`, NaN until all are labelled
    """

    drawn: int
    labelled: int
    wrong: int
    bound: float
    confidence: float

    def __str__(self) -> str:
        if not self.drawn:
            return "nothing was accepted, so there is nothing to verify"
        if self.labelled < self.drawn:
            return (
                f"{self.drawn - self.labelled:,} of the {self.drawn:,} masks drawn for verification wait for a look: give each a "
                "verdict of its own, in wb.Annotator(project, images=project.annotation_to_verify().query(\"label == ''\"))"
            )
        return (
            f"{self.wrong:,} of {self.drawn:,} masks drawn are wrong: at most {percent_up(self.bound)} of all, with "
            f"confidence {percent(self.confidence)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return counts and bound as plain values for JSON; a bound that is not known is None."""
        return plain(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """Masks that were accepted without a person, and the sample by which they are verified.

    masks : accepted; images : that were annotated, those without masks too; sample : positions among `masks`
    rule : what was accepted; gate_id : of the gate's record; shut_by : what kept it shut, in words: checks, and what the gate
        has not measured of these masks
    override : the reason to go on with the gate shut, "" where it was open; id : of the record
    dropped : (N,) masks that are not exported: known to be wrong, by the sample, or turned down or left to people since
    left_since : images that people have left since; they are exported as people left them
    bounds : of the gate, where they are not the conservative ones, by name
    passed_over : images that people had left, complete or skipped; run_id : of the masks
    without_proposals : images of the project that the run did not propose on
    """

    masks: Proposals
    images: tuple[str, ...]
    sample: NDArray[np.int64]
    rule: str
    gate_id: int
    shut_by: tuple[str, ...]
    override: str
    verified: Verified
    dropped: NDArray[np.bool_]
    passed_over: int = 0
    without_proposals: int = 0
    run_id: int = 0
    id: int = 0
    left_since: tuple[str, ...] = ()
    bounds: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def gate_open(self) -> bool:
        """Whether nothing kept the gate shut."""
        return not self.shut_by

    @property
    def kept(self) -> Proposals:
        """The masks that are exported."""
        return self.masks.select(~self.dropped)

    def __str__(self) -> str:
        gate = "gate open" if self.gate_open else f"gate shut, overridden: {self.override}"
        if self.bounds:
            gate += f", held to {', '.join(f'{name} = {value}' for name, value in self.bounds.items())}"
        return (
            f"{len(self.masks):,} masks accepted on {len(self.images):,} images ({self.rule}; {gate}). {self.verified}."
            + (
                f" {len(self.left_since):,} images that people have left since are exported as they left them."
                if self.left_since
                else ""
            )
            + (f" {self.passed_over:,} images that people had left were passed over." if self.passed_over else "")
            + (
                f" {self.without_proposals:,} images have no proposals by this run{GIVE_SAM}."
                if self.without_proposals
                else ""
            )
        )

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Return counts, rule, gate, override and the sample as plain values for JSON."""
        return {
            "masks": len(self.masks),
            "images": len(self.images),
            "passed_over": self.passed_over,
            "without_proposals": self.without_proposals,
            "rule": self.rule,
            "gate": self.gate_id,
            "gate_open": self.gate_open,
            "shut_by": list(self.shut_by),
            "override": self.override,
            "bounds": dict(self.bounds),
            "sample": sample_rows(self.masks, self.sample),
            "verification": str(self.verified),
            **self.verified.to_dict(),
        }


def sample_rows(masks: Proposals, rows: NDArray[np.int64]) -> list[list[str]]:
    """Return image and mask id of each mask drawn."""
    return [[str(masks.image_id[k]), str(masks.mask_id[k])] for k in rows.tolist()]


def accepting(recalibration: Recalibration | None, threshold: float | None) -> Accepted:
    """Accept by confidence above a certified threshold, else by triage."""
    if recalibration is not None and threshold is not None:
        return above(recalibration, threshold)
    return lambda rows: np.asarray(rows.outcome == Outcome.auto_accepted)


def accept(project: Reviewing, images: Sequence[str], accepted: Accepted, config: TriageConfig) -> Proposals:
    """Return the masks that are accepted on images, under the thresholds by which they are looked at."""
    return Proposals.concat([own.rows.select(accepted(own)) for own in each_candidate(project, images, config=config)])


def verify_by(verdicts: Sequence[Verdict], accepted: int, delta: float) -> Verified:
    """Return what the labels of a sample say of all masks accepted; those that lie in a crowd have no part in the bound."""
    drawn, wrong = len(verdicts), sum(v == "wrong" for v in verdicts)
    labelled, crowd = sum(v != "" for v in verdicts), sum(v == "crowd" for v in verdicts)
    whole = drawn and labelled == drawn
    bound = hypergeometric_upper(wrong, drawn - crowd, accepted, delta) if whole else float("nan")
    return Verified(drawn, labelled, wrong, bound, 1 - delta)


class Rule(NamedTuple):
    """What accepts masks: above a certified threshold, or by triage where that is None.

    words : why; pool : masks that the certificate of a pool is of, 0 for another; alpha : share of these that may be wrong; for
        images to come, of an image's masks, on average over images; confidence : of that
    """

    threshold: float | None
    words: str
    pool: int = 0
    alpha: float = 0.0
    confidence: float = 0.0

    def of(self, masks: int) -> str:
        """Return the rule in words for so many masks: of a part of a pool its certificate says less."""
        if self.threshold is None:
            return self.words
        sure = f"with confidence {percent(self.confidence)}"
        if not self.pool:
            return f"{self.words}: of an image's masks at most {percent_up(self.alpha)} wrong, on average over images, {sure}"
        if not 0 < masks < self.pool:
            return f"{self.words}: at most {percent_up(self.alpha)} wrong, {sure}"
        most = min(1.0, self.alpha * self.pool / masks)
        return f"{self.words} of {self.pool:,} masks, of which these are the rest: at most {percent_up(most)} of them wrong by that, {sure}"


def rule_of(certificates: Mapping[str, Any] | None, *, same_pool: bool) -> Rule:
    """Return the threshold of a certificate that was granted; the one for images to come goes first.

    Parameters
    ----------
    same_pool : whether the masks to choose from are those of the pool that was certified: its certificate says nothing of
        others
    """
    known = certificates or {}
    none = (
        "no certificate was granted when last asked" if known else "there is no certificate of the latest calibration"
    )
    for kind, whose in (("images", "images to come"), ("pool", "this pool")):
        if kind in known and known[kind]["granted"] and (kind == "images" or same_pool):
            threshold, of_pool = known[kind]["threshold"], kind == "pool"
            said = f"confidence above {threshold:g}, certified for {whose}"
            spent = known[kind].get("spent", 0.0)  # records of before count no looks
            sure = max(0.0, 1 - known[kind]["delta"] - spent)
            return Rule(threshold, said, known[kind]["accepted"] if of_pool else 0, known[kind]["alpha"], sure)
    other = "pool" in known and known["pool"]["granted"]
    return Rule(None, f"auto-accepted by triage; {'the certificate is of another pool' if other else none}")
