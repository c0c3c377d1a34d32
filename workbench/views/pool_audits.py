"""What audits say of a pool: masks that a senior has judged, each standing for those that were not drawn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench import auditing
from workbench.loop.audited import FEWEST, Audited, fp_rate
from workbench.store import audits
from workbench.tables.figures import Interval
from workbench.triage.pool import DistinctPool

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.views.pools import Pooled


@dataclasses.dataclass(frozen=True, eq=False)
class PoolAudits:
    """Audited images of a distinct pool: what is known of each of their rows; rows : (A,) places in the pool."""

    audited: Audited
    rows: NDArray[np.int64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """(A,) how many masks a row stands for: 1 where it was looked at before, 0 where nobody has judged it."""
        return np.where(self.audited.seen, 1.0, self.audited.weight)

    def fp_rate(self, auto: NDArray[np.bool_], seed: int = 0) -> Interval:
        """Return the wrong share among the auto-accepted, with its interval, as `project.sweep` counts it by audits.

        Parameters
        ----------
        auto : (A,) whether each row is auto-accepted
        """
        sums = self.audited.sums(auto)
        return fp_rate(sums[:, None, :], np.random.default_rng(seed)).interval(0)


def audits_of(project: Project, pooled: Pooled) -> PoolAudits | None:
    """Return what audits of the latest run say of a pool; None without any, or with too few answers for a rate.

    Audits of images that trained the model say nothing of it and are left out.
    """
    run, pool = project._find_run(None), pooled.pool
    if run is None or not isinstance(pool, DistinctPool):
        return None
    with project.catalog.read() as connection:
        frames = [audits.frame_of(connection, number)[0] for number in audits.numbers(connection)]
    place = {image_id: m for m, image_id in enumerate(pooled.image_ids)}
    usable = place.keys() - pooled.learned
    drawn_from = dict.fromkeys(image_id for frame in frames for image_id in frame.image_ids if image_id in usable)
    if not drawn_from:
        return None
    known = auditing.audited_images(project._shown, run.id, list(drawn_from), project.review_config.right_iou)
    if sum(len(image.answered) for image in known.values()) < FEWEST:
        return None
    order, cuts = pooled.rows_by_image
    images, rows = [], [np.zeros(0, np.int64)]
    for image_id, proposals in project.each(list(known), run.id):
        m = place[image_id]
        mine = np.sort(order[cuts[m] : cuts[m + 1]])
        images.append((known[image_id], proposals.mask_id[pool.rows[mine] - pooled.starts[m]].tolist()))
        rows.append(mine)
    return PoolAudits(Audited.of(images), np.concatenate(rows))
