"""Reliability of confidence by cycle and by domain, for the calibration page; it knows no Panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.calibrate.reliability import ReliabilityTable, reliability

if TYPE_CHECKING:
    from workbench.project import Project

MOST_IMAGES = 500  # of the domains together; the page says how many were used


def by_cycle(project: Project, when: str = "after") -> dict[str, ReliabilityTable]:
    """Return what each run's latest calibration found before or after recalibration, in order of the runs.

    A run in which a cycle's model proposed is named by the cycle, another by its number.
    """
    cycles = {row.model_id: row.cycle for row in project.cycles(changes=False).rows}
    found: dict[int, tuple[str, ReliabilityTable]] = {}
    records = project.calibration_records()
    for row in records[records["kind"] == "calibration"].to_dict("records"):
        if row["result"]["recalibration"] is not None:
            known = row["model_id"] in cycles
            name = f"cycle {cycles[row['model_id']]}" if known else f"run {row['run_id']}"
            found[int(row["run_id"])] = name, ReliabilityTable.from_dict(row["result"][when])
    return {name: table for _, (name, table) in sorted(found.items())}


class Domains(NamedTuple):
    """Reliability by domain before and after recalibration, none with fewer than two domains; and of how many images."""

    before: dict[str, ReliabilityTable]
    after: dict[str, ReliabilityTable]
    images: int


def by_domain(project: Project, most: int = MOST_IMAGES) -> Domains:
    """Measure confidence in each domain, on calibration images that had no part in the recalibration.

    Parameters
    ----------
    most : images, drawn by the project's seed where there are more
    """
    from workbench.loop import labelling

    kept = project.calibration()
    if kept is None or kept.recalibration is None:
        return Domains({}, {}, 0)
    frame = project.images()
    unseen = set(project.unseen_images("calibration")) - set(kept.images)
    frame = frame[frame["image_id"].isin(unseen)]
    domain_of = dict(zip(frame["image_id"], frame["domain"], strict=True))
    if len(set(domain_of.values())) < 2:
        return Domains({}, {}, 0)
    rng = np.random.default_rng(abs(project.seed))
    chosen = sorted(rng.permutation(sorted(domain_of))[:most].tolist())
    rows = labelling.label(project, chosen, source=project.label_source(), base=kept.base)
    domain = np.array([domain_of[i] for i in rows.image], dtype=object)
    found: list[dict[str, ReliabilityTable]] = []
    for p in (rows.features.score, kept.recalibration.predict(rows.features)):
        tables = {}
        for name in sorted(set(domain_of.values())):
            some = rows.usable & (domain == name)
            tables[name] = reliability(
                p[some], rows.right[some], rows.image[some], rng, what=f"proposals of {name}", draws=200
            )
        found.append({name: table for name, table in tables.items() if len(table.counts)})
    return Domains(found[0], found[1], len(chosen))
