"""The figures of the benchmark of the bundled SAM, from what each image showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.figures import Row, row
from workbench.calibrate.reliability import auroc, ece

HIGH = 0.88  # the official generator's threshold of predicted IoU
DRAWS = 200  # of figures that are no means: each takes a sort of all masks


@dataclass
class Found:
    """What one image showed; arrays are over its T true masks, its hypotheses, its distinct proposals, or what was accepted.

    matched_50, matched_75 : (T,) bool, true masks that a distinct proposal meets, one to one
    matched_share : (T,) share of the IoUs 0.5, 0.55 ... 0.95 at which one does
    reachable : (T,) bool, what grid, area limits and the most proposals an image allow; pointed_at : what a point falls on
    hypothesis_right : best IoU with any true mask at least 0.75; distinct_right : matched one to one at 0.75
    accepted : (D,) bool, what triage by the preset accepts of the distinct proposals by the preset, in its own order; of an
        image that was not proposed on by the preset none, and seconds are NaN
    accepted_right : matched one to one at 0.75, of what is accepted
    seconds : to propose by the preset, as a user does
    """

    truth_area: np.ndarray
    matched_50: np.ndarray
    matched_75: np.ndarray
    matched_share: np.ndarray
    reachable: np.ndarray
    pointed_at: np.ndarray
    centre_iou: np.ndarray
    hypothesis_score: np.ndarray
    hypothesis_right: np.ndarray
    distinct_score: np.ndarray
    distinct_right: np.ndarray
    distinct_right_50: np.ndarray
    accepted: np.ndarray
    accepted_right: np.ndarray
    accepted_right_50: np.ndarray
    seconds: float
    plain_50: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    plain_75: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    plain_right_50: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def recall_rows(name: str, found: list[Found], aims: dict[str, float]) -> list[Row]:
    """Return rows of recall, by size too, of what is possible at most, and of the point at the centre."""
    rows = [
        row(f"{name}.recall_50", [f.matched_50 for f in found], aims.get("recall_50")),
        row(f"{name}.recall_75", [f.matched_75 for f in found], aims.get("recall_75")),
        row(f"{name}.ar_300", [f.matched_share for f in found]),
        row(f"{name}.ceiling", [f.reachable for f in found]),
        row(f"{name}.a_point_falls_on_it", [f.pointed_at for f in found]),
        row(f"{name}.centre_point_best_iou", [f.centre_iou for f in found]),
    ]
    areas = np.concatenate([f.truth_area for f in found])
    edges = np.quantile(areas, [0, 0.25, 0.5, 0.75, 1]) if len(areas) else np.zeros(5)
    for q in range(4):
        last = q == 3
        parts = [
            f.matched_50[
                (f.truth_area >= edges[q]) & ((f.truth_area <= edges[4]) if last else (f.truth_area < edges[q + 1]))
            ]
            for f in found
        ]
        rows.append(row(f"{name}.recall_50.size_{q + 1}_of_4_from_{int(edges[q])}_px", parts))
    return rows


def score_rows(name: str, found: list[Found], aims: dict[str, float]) -> list[Row]:
    """Return rows of predicted IoU: how it ranks, how far from the truth it is, how many it lifts over 0.88."""
    rows = []
    for kind in ("hypothesis", "distinct"):
        parts = [(getattr(f, f"{kind}_score"), getattr(f, f"{kind}_right")) for f in found]
        rows.append(drawn(f"{name}.auroc.{kind}", auroc, parts, aims.get(f"auroc_{kind}"), ">="))
        as_probability = [(np.clip(score, 0, 1).astype(float), right) for score, right in parts]
        rows.append(drawn(f"{name}.ece.{kind}", ece, as_probability, None, "<="))
    high = [f.distinct_right[f.distinct_score > HIGH] for f in found]
    rows.append(
        row(f"{name}.right_above_{HIGH}", [f.distinct_score[f.distinct_right] > HIGH for f in found], aims.get("high"))
    )
    rows.append(row(f"{name}.wrong_among_above_{HIGH}", [~h for h in high], aims.get("high_wrong"), "<="))
    rows.append(row(f"{name}.wrong_among_distinct", [~f.distinct_right for f in found], None, "<="))
    rows.append(row(f"{name}.wrong_among_distinct_50", [~f.distinct_right_50 for f in found], None, "<="))
    rows.append(row(f"{name}.auto_accept_rate", [f.accepted for f in found]))
    rows.append(row(f"{name}.fp_rate", [~f.accepted_right for f in found], None, "<="))
    rows.append(row(f"{name}.fp_rate_50", [~f.accepted_right_50 for f in found], None, "<="))
    return rows


def drawn(
    name: str,
    figure: Callable[[np.ndarray, np.ndarray], float],
    parts: list[tuple[np.ndarray, np.ndarray]],
    aim: float | None,
    direction: str,
) -> Row:
    """Return a figure of the scores and rights of all images, with its interval by drawing images anew."""

    def of(chosen: np.ndarray) -> float:
        return figure(*(np.concatenate([parts[i][k] for i in chosen]) for k in (0, 1)))

    rng, every = np.random.default_rng(0), np.arange(len(parts))
    draws = [of(rng.choice(every, len(every))) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Row(name, of(every), "1", (float(low), float(high)), sum(len(s) for s, _ in parts), aim, direction)
