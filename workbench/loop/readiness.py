"""Figures of the gate, measured on a project's test images; words where one cannot be measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.calibrate.intervals import ENDS, draw_images, percentiles
from workbench.config import ProposeConfig, TriageConfig
from workbench.loop.calibration import Calibration
from workbench.loop.diversity import category_diversity
from workbench.loop.gate import GateConfig, GateReport, evaluate
from workbench.loop.labelling import Labelled, Source, label, unlabelled
from workbench.loop.metrics import METRICS, Point, measure
from workbench.store import calibrations, campaigns, records, runs, versions
from workbench.tables.figures import Interval
from workbench.tables.intervals import FEW_EVENTS, exact_binomial
from workbench.triage.limits import HOW, fitting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.reviewing import Reviewing

DRAWS = 1000


@dataclasses.dataclass
class _Evidence:
    """What is known of the checks, by their names.

    figures : measured; notes : in words, of what is not measured too
    undecided : why a figure cannot tell, so few labels as there are; doubtful : why one holds only by what nobody looked at
    """

    figures: dict[str, Interval] = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    undecided: dict[str, str] = dataclasses.field(default_factory=dict)
    doubtful: dict[str, str] = dataclasses.field(default_factory=dict)


def gate(
    project: Reviewing,
    calibration: Calibration | None,
    test: Sequence[str],
    config: GateConfig,
    declared: Mapping[str, str],
    source: Source = "final",
    of_role: int = 0,
) -> GateReport:
    """Measure every figure of the gate on test images, and hold it against its bound.

    source : of labels, as the calibration or the campaign was told: "people" where imported truth leaves things out
    of_role : images with the role test, those that `test` lacks among them
    """
    evidence = _Evidence()
    _calibration_error(project, calibration, config, evidence)
    rows = label(project, test)
    measured = measured_by(project)
    if measured:
        domain_of = _domain_of(project)
        measured["domains"] = sorted({domain_of[image] for image in rows.images})
    if len(rows.images) < config.least_images:
        said = _too_few(project.model_id, of_role, len(test), len(rows.images), config.least_images)
        evidence.notes |= dict.fromkeys(("auto_accept_rate", "fp_rate", "recall", "small_object_recall"), said)
        evidence.notes |= dict.fromkeys(("category_diversity", "improvement", "domains"), said)
    else:
        _of_test_images(project, rows, source, config, evidence)
    _consistency(project, evidence)
    return evaluate(evidence.figures, config, declared, evidence.notes, measured, evidence.undecided, evidence.doubtful)


def _too_few(model_id: str | None, of_role: int, measurable: int, known: int, needed: int) -> str:
    """Say what is missing where fewer test images are known than are needed."""
    if not measurable and not of_role:
        return "no image has the role test: add images (workbench add), some of which get it, or make the project with other roles"
    if model_id is None:
        return f"no proposals are there on the {of_role:,} test images: run `workbench propose` (project.propose) first"
    if not measurable:
        return (
            f"none of the {of_role:,} test images has proposals of a model that was not trained on it: propose on them (workbench propose --model "
            "latest), "
            "or add images (workbench add)"
        )
    return f"{known} test images with proposals and truth, at least {needed} are needed: complete their review, or import truth"


def _calibration_error(
    project: Reviewing,
    calibration: Calibration | None,
    config: GateConfig,
    evidence: _Evidence,
) -> None:
    """Smooth ECE after recalibration; undecided where a perfectly calibrated model would show as much on as few labels."""
    if calibration is None:
        evidence.notes["calibration_error"] = "run project.calibrate() (workbench calibrate) first"
        return
    now, then = project.triage_config(), calibration.base
    if (now.nms, now.nms_iou) != (then.nms, then.nms_iou):
        evidence.notes["calibration_error"] = (
            f"the latest calibration is of the masks that {then.nms} NMS at {then.nms_iou:g} leaves, triage goes by {now.nms} "
            f"NMS at {now.nms_iou:g}: calibrate again"
        )
        return
    m, images = calibration.after["smooth_ece"], len(calibration.images)
    if not np.isnan(m.value) and images < config.least_images:
        evidence.notes["calibration_error"] = (
            f"{images} labelled calibration images, at least {config.least_images} are needed: complete the review of more, "
            "and calibrate again"
        )
        return
    if np.isnan(m.value):
        evidence.notes["calibration_error"] = calibration.note or m.note
        return
    evidence.figures["calibration_error"] = Interval(
        m.value, m.low, m.high, m.n, "bootstrap" if m.high == m.high else "none"
    )
    if m.value <= m.perfect_high:
        evidence.undecided["calibration_error"] = (
            f"so few labels cannot tell: a perfectly calibrated model would show up to {m.perfect_high:.3f} on them; "
            "label more calibration images"
        )


def _of_test_images(
    project: Reviewing,
    rows: Labelled,
    source: Source,
    config: GateConfig,
    evidence: _Evidence,
) -> None:
    rng = np.random.default_rng(abs(project.seed))
    names = {
        "auto_accept_rate": "auto_accept_rate",
        "recall": "recall_auto",
        "small_object_recall": "recall_auto_small",
    }
    every = np.ones(len(rows.outcome), bool)
    found = measure(rows.comparison, rows.outcome, list(names.values()), rng, distinct=every)
    evidence.figures |= {check: found[name] for check, name in names.items()}
    _fp_rate(project, rows, source, config, rng, evidence)
    c = rows.comparison
    kept = ~c.ignore
    diverse, said = category_diversity(
        c.found(rows.auto, 0.5)[kept], rows.truth_labels[kept], c.image_of_truth[kept], rng, config.least_instances
    )
    evidence.figures["category_diversity"] = diverse
    if said:
        evidence.notes["category_diversity"] = said
    _domains(project, rows, rng, evidence)
    _improvement(project, rows, rng, evidence)
    evidence.doubtful |= _unvouched(rows, config)


def _fp_rate(
    project: Reviewing,
    rows: Labelled,
    source: Source,
    config: GateConfig,
    rng: np.random.Generator,
    evidence: _Evidence,
) -> None:
    """Share of auto-accepted masks that are wrong; where imported truth leaves things out, by final masks alone."""
    if source == "people":
        rows = label(project, rows.images, source=source)
        if len(rows.images) < config.least_images:
            evidence.notes["fp_rate"] = (
                f"imported truth leaves things out (the calibration or the campaign was told so), and {len(rows.images)} test images are "
                f"complete by people's review, at least {config.least_images} are needed: complete their review"
            )
            return
    right, wrong = rows.comparison.verdicts(rows.auto)
    unsaid = rows.auto & unlabelled(rows.comparison, right | wrong)
    if unsaid.any() or rows.comparison.unseen.any():
        evidence.notes["fp_rate"] = (
            f"{int(unsaid.sum()):,} auto-accepted masks of test images, {int(rows.comparison.unseen.sum()):,} final ones, were not looked at "
            "one by one: accept or reject each, or import truth"
        )
        return
    found = measure(rows.comparison, rows.outcome, ["fp_rate", "fp_rate_50"], rng)
    evidence.figures["fp_rate"] = found["fp_rate"]
    if found["fp_rate"].known:
        evidence.notes["fp_rate"] = f"at IoU 0.5 {found['fp_rate_50'].value:.3f}"
    else:
        evidence.notes["fp_rate"] = "nothing is auto-accepted on test images"


def _unvouched(rows: Labelled, config: GateConfig) -> dict[str, str]:
    """Return checks that hold only since final masks that nobody looked at one by one are found: by themselves."""
    c = rows.comparison
    found, kept, small = c.found(rows.auto, 0.5) & ~c.unseen, ~c.ignore, c.area_px <= c.small_px
    said = (
        "{:,} of the true masks are final ones that nobody looked at one by one, and found by themselves: accept or reject each, "
        "or import truth"
    )
    doubtful = {}
    for name, some, bound in (
        ("recall", kept, config.recall), ("small_object_recall", kept & small, config.small_object_recall),
    ):  # fmt: skip
        unseen = int((c.unseen & some).sum())
        if unseen and not found[some].mean() > bound:
            doubtful[name] = said.format(unseen)
    if "recall" in doubtful:
        doubtful |= dict.fromkeys(("domains", "category_diversity"), doubtful["recall"])
    return doubtful


def _domains(project: Reviewing, rows: Labelled, rng: np.random.Generator, evidence: _Evidence) -> None:
    """Largest − smallest recall_auto among domains, its interval over images drawn anew within each."""
    domain_of = _domain_of(project)
    domains = np.array([domain_of[image] for image in rows.comparison.image_ids])
    names = np.unique(domains)
    if len(names) < 2:
        evidence.notes["domains"] = (
            "all test images are of one domain; declare it not applicable if that is all there is"
        )
        return
    counts = METRICS["recall_auto"].counts(Point(rows.comparison, rows.outcome))
    recalls, drawn = [], []
    for name in names:
        hit, per = counts.values[domains == name], counts.per[domains == name]
        picks = draw_images(len(hit), DRAWS, rng)
        recalls.append(hit.sum() / per.sum() if per.sum() else np.nan)
        drawn.append((picks @ hit) / np.where(picks @ per > 0, picks @ per, np.nan))
    if np.isnan(recalls).any() or min(int((counts.per[domains == name] > 0).sum()) for name in names) < 2:
        evidence.notes["domains"] = "a domain has fewer than two test images with true masks"
        return
    spread = np.nanmax(drawn, axis=0) - np.nanmin(drawn, axis=0)
    low, high = percentiles(spread)
    hits, per = (np.array([c[domains == name].sum() for name in names]) for c in (counts.values, counts.per))
    few = np.minimum(hits, per - hits) < FEW_EVENTS
    if few.any():  # of these the exact intervals, and the widest spread that the intervals allow
        ends = np.where(few, exact_binomial(hits, per), np.nanquantile(drawn, ENDS, axis=1))
        apart = ends[1][:, None] - ends[0]
        high = max(high, float(apart[~np.eye(len(names), dtype=bool)].max()))
    value = float(np.max(recalls) - np.min(recalls))
    evidence.figures["domains"] = Interval(value, min(low, value), max(high, value), len(names), "bootstrap")


def _improvement(project: Reviewing, rows: Labelled, rng: np.random.Generator, evidence: _Evidence) -> None:
    """Relative change of auto_accept_rate between the last two models, by the same floors, grid and NMS, paired."""
    earlier, now = _runs_before(project), measured_by(project)
    if not earlier:
        evidence.notes["improvement"] = "there is one model so far; it takes two, one after the other"
        return
    alike = [r for r in earlier if all(measured_by(project, r)[k] == now[k] for k in ("floors", "distinct"))]
    if not alike:
        evidence.notes["improvement"] = (
            f"no earlier model has a run with the floors, grid and NMS of run {now['run']}; let it propose with the same"
        )
        return
    before = alike[0]
    if versions.learned_by(project.catalog, measured_by(project, before)["model_id"]) & set(rows.images):
        evidence.notes["improvement"] = f"the model of run {before} was trained on some of the test images"
        return
    rules = [_rule(project, run) for run in (now["run"], before)]
    if rules[0].certified != rules[1].certified:  # of one run only: the model did not change by that
        rules = [rule._replace(config=rule.without) for rule in rules]
        rows = label(project, rows.images, config=rules[0].config)
    old = label(project, rows.images, before, config=rules[1].config)
    if set(old.images) != set(rows.images):
        evidence.notes["improvement"] = f"run {before} has not proposed on all of the same test images"
        return
    now_a, now_n = _accepted(rows)
    old_a, old_n = _accepted(old)
    n = len(now_a)
    picks = draw_images(n, DRAWS, rng)
    base = old_a.sum() / max(old_n.sum(), 1)
    if not base or not now_n.sum():
        evidence.notes["improvement"] = f"run {before} accepted nothing on test images: a relative change is undefined"
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = ((picks @ now_a) / (picks @ now_n)) / ((picks @ old_a) / (picks @ old_n)) - 1
    low, high = percentiles(drawn[np.isfinite(drawn)])
    value = float(now_a.sum() / now_n.sum() / base - 1)
    evidence.figures["improvement"] = Interval(value, min(low, value), max(high, value), n, "bootstrap")


class _Rule(NamedTuple):
    """By what triage of a run goes: whether an adopted certificate, and what it went by before that."""

    certified: bool
    config: TriageConfig
    without: TriageConfig


def _rule(project: Reviewing, run: int) -> _Rule:
    config, of_run = project.triage_config(run), runs.find(project.catalog, run)
    assert of_run is not None  # it has masks of test images
    own = (TriageConfig.from_dict(version.settings) for version in records.triages_of(project.catalog, run))
    before = next((some for some in own if not _certified(project, some)), None)
    first = before or fitting(of_run.model_id, ProposeConfig.from_dict(of_run.settings))
    return _Rule(_certified(project, config), config, first)


def _certified(project: Reviewing, config: TriageConfig) -> bool:
    """Whether a certificate was adopted by these settings: cycles and verifiers have models of confidence as well."""
    taken_up = calibrations.find(project.catalog, config.confidence_model or 0, "adoption")
    return taken_up is not None and "certificate" in taken_up.settings and config.confidence_rule == "decides"


def _accepted(rows: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Auto-accepted and distinct proposals of each image, in the order of ids."""
    order = np.argsort(np.array(rows.comparison.image_ids))
    of, images = rows.comparison.image_of_row, len(order)
    auto, distinct = np.bincount(of, rows.auto, images), np.bincount(of, minlength=images)
    return auto[order], distinct[order].astype(np.float64)


def recall_auto(project: Reviewing) -> Interval:
    """Return the share of true masks that an auto-accepted one matches, over all images of the latest run with truth."""
    frame = project.images()
    rows = label(project, frame["image_id"][frame["status"] == "done"].tolist())
    return measure(rows.comparison, rows.outcome, ["recall_auto"], np.random.default_rng(abs(project.seed)))[
        "recall_auto"
    ]


def _runs_before(project: Reviewing) -> list[int]:
    """Earlier runs of other models, the last first; those of the campaign that made the latest run before all others."""
    frame, now = project.runs(), project._run_id()
    if now is None or not len(frame):
        return []
    earlier = frame["id"][(frame["model_id"] != project.model_id) & (frame["id"] < now)].tolist()[::-1]
    last = campaigns.find(project.catalog)
    cycles = campaigns.of_campaign(project.catalog, last.id) if last else []
    own = [cycle.state.get("run_id") for cycle in cycles]
    first = [run for run in reversed(own[: own.index(now)]) if run in earlier] if now in own else []
    return list(dict.fromkeys([*first, *earlier]))


def _domain_of(project: Reviewing) -> dict[str, str]:
    """Return the domain of each image."""
    frame = project.images()
    return dict(zip(frame["image_id"].astype(str), frame["domain"].astype(str), strict=True))


def measured_by(project: Reviewing, run: int | None = None) -> dict[str, Any]:
    """Return run, model, floors with their grid, and NMS of the distinct proposals; nothing before the first run."""
    found = runs.find(project.catalog, run)
    if found is None:
        return {}
    config = project.triage_config(run)
    floors = {name: value for name, value in ProposeConfig.stored(found.settings).items() if name not in HOW}
    nms = {"nms": config.nms, "nms_iou": config.nms_iou, "pool": config.pool}
    return {"run": found.id, "model_id": found.model_id, "floors": floors, "distinct": nms}


def _consistency(project: Reviewing, evidence: _Evidence) -> None:
    """Krippendorff's alpha on the verdicts of images that two annotators did."""
    found = project.agreement().krippendorffs_alpha
    if found.known:
        evidence.figures["consistency"] = found
    else:
        evidence.notes["consistency"] = (
            "no images were reviewed by two annotators; hand some out with workbench review --second (project.queue(second=True))"
        )
