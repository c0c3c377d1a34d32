"""What a run has come to: its counts, the versions of its triage, and tables of them for people."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from workbench.store.catalog import Catalog, now
from workbench.store.schema import image_files, images, run_images, runs, triages, truth_images

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Version:
    """A triage that was kept: thresholds over a run, and what came of them.

    images : how many of the run were done then
    """

    id: int
    run_id: int
    digest: str
    settings: Mapping[str, Any]
    images: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]


_VERSION = sa.select(
    triages.c.id,
    triages.c.run_id,
    triages.c.digest,
    triages.c.settings,
    triages.c.images,
    triages.c.counts,
    triages.c.reasons,
)


def keep_triage(catalog: Catalog, kept: Version, note: str, author: str) -> int:
    """Write a version of triage and return its number; `kept.id` is not looked at.

    Equal settings on the same run are the same version, counted anew, unless another note or author is given.
    """
    values = {k: v for k, v in dataclasses.asdict(kept).items() if k != "id"}
    same = (triages.c.run_id == kept.run_id) & (triages.c.digest == kept.digest)
    if note or author:
        same &= (triages.c.note == note) & (triages.c.author == author)
    with catalog.write() as connection:
        values["turn"] = 1 + (connection.execute(sa.select(sa.func.max(triages.c.turn))).scalar() or 0)
        found = connection.execute(sa.select(triages.c.id).where(same).order_by(triages.c.turn.desc())).scalar()
        if found is not None:
            connection.execute(sa.update(triages).where(triages.c.id == found).values(values))
            return int(found)
        made = connection.execute(sa.insert(triages).values(**values, note=note, author=author, made_at=now()))
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])


def latest_triage(catalog: Catalog, run_id: int) -> Version | None:
    """Return the version of triage that was used last on a run."""
    query = _VERSION.where(triages.c.run_id == run_id).order_by(triages.c.turn.desc()).limit(1)
    with catalog.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else Version(*row)


def triages_of(catalog: Catalog, run_id: int) -> list[Version]:
    """Return the versions of triage of a run, the one used last first."""
    with catalog.read() as connection:
        rows = connection.execute(_VERSION.where(triages.c.run_id == run_id).order_by(triages.c.turn.desc()))
        return [Version(*row) for row in rows]


_LATEST = (
    sa.select(runs.c.id, triages.c.id)
    .select_from(runs.outerjoin(triages, triages.c.run_id == runs.c.id))
    .order_by(runs.c.turn.desc(), triages.c.turn.desc())
    .limit(1)
)


def latest(connection: sa.Connection) -> tuple[int, int] | None:
    """Return the run that was worked on last and its triage used last, in one question; None where one is missing."""
    row = connection.execute(_LATEST).first()
    return None if row is None or row[1] is None else (row[0], row[1])


def find_triage(catalog: Catalog, triage_id: int) -> Version | None:
    """Return a version of triage by its number."""
    with catalog.read() as connection:
        row = connection.execute(_VERSION.where(triages.c.id == triage_id)).first()
    return None if row is None else Version(*row)


def totals(catalog: Catalog, run_id: int | None) -> dict[str, Any]:
    """Return images, duplicates, done, proposals, distinct and seconds_per_image of a run (zeros for none)."""
    done = (run_images.c.run_id == run_id) & (run_images.c.status == "done")
    query = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(run_images.c.rows), 0),
        sa.func.coalesce(sa.func.sum(run_images.c.distinct_rows), 0),
        sa.func.sum(run_images.c.seconds),
    ).where(done)
    with catalog.read() as connection:
        n_images = connection.execute(sa.select(sa.func.count()).select_from(images)).scalar_one()
        n_files = connection.execute(sa.select(sa.func.count()).select_from(image_files)).scalar_one()
        n_done, rows, distinct, seconds = connection.execute(query).one()
    return {
        "images": n_images,
        "duplicates": n_files,
        "done": n_done,
        "proposals": int(rows),
        "distinct": int(distinct),
        "seconds_per_image": seconds / n_done if n_done else float("nan"),
    }


def failures(catalog: Catalog, run_id: int | None) -> list[tuple[str, str, str]]:
    """Return path, reason and message of each image that has no proposals for a reason, in order."""
    of_run = run_images.c.run_id == run_id
    columns = images.c.key, images.c.path
    # two questions that each look at what failed alone: joining all images of a large project takes far longer
    here = sa.select(*columns, run_images.c.reason, run_images.c.message).select_from(run_images.join(images))
    tried = sa.exists().where(of_run & (run_images.c.image_key == images.c.key))
    before = sa.select(*columns, images.c.reason, images.c.message).where((images.c.reason != "") & ~tried)
    with catalog.read() as connection:
        found = [*connection.execute(here.where(of_run & (run_images.c.reason != ""))), *connection.execute(before)]
    return [(path, reason, message) for _, path, reason, message in sorted(found, key=lambda row: int(row[0]))]


def failure_counts(catalog: Catalog, run_id: int | None) -> dict[str, int]:
    """Return how many images failed for each reason, the most frequent first."""
    return dict(collections.Counter(reason for _, reason, _ in failures(catalog, run_id)).most_common())


def images_frame(catalog: Catalog, run_id: int | None) -> pd.DataFrame:
    """Return a row for each image: id, path, domain, role, status in a run, reason, sizes, counts, true masks."""
    seen = sa.and_(run_images.c.image_key == images.c.key, run_images.c.run_id == run_id)
    unread = sa.case((images.c.image_id.is_(None), "unreadable"), else_="new")
    query = (
        sa.select(
            images.c.image_id,
            images.c.path,
            images.c.domain,
            images.c.role,
            sa.func.coalesce(run_images.c.status, unread).label("status"),
            sa.func.coalesce(run_images.c.reason, images.c.reason).label("reason"),
            images.c.height,
            images.c.width,
            images.c.size_bytes,
            sa.func.coalesce(run_images.c.rows, 0).label("proposals"),
            sa.func.coalesce(run_images.c.distinct_rows, 0).label("distinct"),
            truth_images.c.rows.label("truth"),
        )
        .select_from(images.outerjoin(run_images, seen).outerjoin(truth_images))
        .order_by(images.c.key)
    )
    frame = _frame(catalog, query)
    return frame.astype({"height": "Int64", "width": "Int64", "size_bytes": "Int64", "truth": "Int64"})


def runs_frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each run: model, settings, when it began, images done and failed, proposals, seconds, memory."""
    done = sa.case((run_images.c.status == "done", 1), else_=0)
    counts = (
        sa.select(
            run_images.c.run_id,
            sa.func.sum(done).label("done"),
            sa.func.sum(1 - done).label("failed"),
            sa.func.sum(run_images.c.rows).label("proposals"),
            sa.func.sum(run_images.c.distinct_rows).label("distinct"),
            sa.func.sum(run_images.c.seconds).label("seconds"),
        )
        .group_by(run_images.c.run_id)
        .subquery()
    )
    columns = [c for c in runs.c if c.name != "turn"]
    numbers = [sa.func.coalesce(c, 0).label(c.name) for c in counts.c if c.name != "run_id"]
    joined = runs.outerjoin(counts, counts.c.run_id == runs.c.id)
    return _frame(catalog, sa.select(*columns, *numbers).select_from(joined).order_by(runs.c.id))


def triages_frame(catalog: Catalog) -> pd.DataFrame:
    """Return a row for each version of triage: run, settings, note, author, counts, reasons."""
    columns = [c for c in triages.c if c.name != "turn"]
    return _frame(catalog, sa.select(*columns).order_by(triages.c.id))


def _frame(catalog: Catalog, query: sa.Select[Any]) -> pd.DataFrame:
    import pandas as pd

    with catalog.read() as connection:
        result = connection.execute(query)
        rows = [tuple(row) for row in result]  # pandas looks at each row of another kind for far longer
        return pd.DataFrame(rows, columns=list(result.keys()))
