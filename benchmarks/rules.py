"""What triage accepts by each way of reading thresholds off: `python -m benchmarks.rules --keep DIR --json F`.

DIR is where `benchmarks.cycles --keep` left its projects. Nothing is proposed and nothing trained: for each cycle, thresholds
are read off the calibration images of the cycles before, by the final masks of these, and applied to the same proposals of
the test images. "preset": what the campaign began with; "predicted_iou": a threshold of it, reasons for doubt stand;
"doubts": of the confidence where that accepts more, reasons for doubt stand; "decides": of the confidence alone
(`workbench.loop.thresholds`, which cycles go by).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.cycles import of
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, processor
from workbench.loop import measuring, thresholds
from workbench.loop.labelling import truths
from workbench.loop.plan import Plan
from workbench.project import Project
from workbench.store import campaigns
from workbench.triage.limits import fitted

RULES = ("preset", "predicted_iou", "doubts", "decides")
SHOWN = ("auto_accept_rate", "recall_auto", "fp_rate", "fp_rate_50")


def of_project(project: Project, lead: str) -> Iterator[Row]:
    """Yield the figures of each cycle and rule of the campaign worked on last. Raises ValueError without one."""
    campaign = campaigns.find(project.catalog)
    if campaign is None:
        raise ValueError(f"{project.path}: expected a project with cycles, as benchmarks.cycles --keep leaves them")
    plan, done = Plan.from_dict(dict(campaign.settings)), campaigns.of_campaign(project.catalog, campaign.id)

    def judged(images: list[str], run_id: int, final: bool) -> measuring.Judged | None:
        known = truths(project, images, "final only" if final else "truth")
        if not known:
            return None
        return measuring.judge(project.each(list(known), run_id, config=plan.triage), known, plan.pooled, plan.floors)

    for cycle in done:
        before = [image for c in done if c.number < cycle.number for image in c.calibration]
        if cycle.step != "done" or not before:
            continue
        labelled = judged(before, cycle.state["run_id"], True)
        test = judged(list(campaign.held_out), cycle.state["run_id"], False)
        if labelled is None or test is None:
            continue
        for rule in RULES:
            found = read_off(rule, plan, labelled)
            rows, config = test.rows, found.config
            if found.recalibration is not None:
                rows = rows.replace(confidence=found.recalibration.predict(test.features))
                config = config.replace(confidence_model=1)
            rng = np.random.default_rng([plan.cycle.seed, 0])  # as the campaign draws the test images
            figures, _, _ = measuring.figures(test._replace(rows=rows), config, plan.cycle.exhaustive, rng)
            for name in SHOWN:
                if name in figures:
                    yield of(f"{lead}.cycle{cycle.number}.{rule}.{name}", figures[name])


def read_off(rule: str, plan: Plan, labelled: measuring.Judged) -> thresholds.Calibrated:
    """Return the thresholds of a rule."""
    base, features = fitted(plan.triage, plan.floors), None if rule == "predicted_iou" else labelled.features
    if rule == "preset" or not plan.cycle.exhaustive:
        return thresholds.Calibrated(base, "preset", "")
    allowed = thresholds.Allowed(plan.cycle.most_wrong, plan.cycle.reserve)
    # where rows that fail are not compared, the confidence cannot decide alone; these rows are distinct by either
    base = base.replace(pool="exact") if rule == "doubts" else base
    return thresholds.calibrated(base, labelled.rows, labelled.verdicts, allowed, plan.floors, features)


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--keep", type=Path, required=True, nargs="+", help="folders of benchmarks.cycles --keep")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    rows: list[Row] = []
    for path in sorted(found for folder in given.keep for found in folder.glob("*/p.wb")):
        with Project.open(path) as project:
            rows += of_project(project, path.parent.name)
    if not rows:
        parser.error(f"no cycle that follows calibration images under {', '.join(map(str, given.keep))}")
    write_rows("rules", commit(), processor("cpu"), rows, given.json)


if __name__ == "__main__":
    main()
