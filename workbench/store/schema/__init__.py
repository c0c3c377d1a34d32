"""Tables of a project's catalogue, in a file for each subject.

What people do and what was done is kept here; the masks themselves are in Parquet shards, which these tables name.
A change of these tables comes with a migration; a test compares the two.
"""

from __future__ import annotations

from workbench.store.schema import calibration, experiments, loop, review
from workbench.store.schema.core import (
    image_files,
    image_roots,
    images,
    metadata,
    models,
    project,
    run_images,
    runs,
    shards,
    triages,
    truth_images,
)

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")  # every version of the schema, oldest first
HEAD = REVISIONS[-1]

__all__ = [
    "HEAD",
    "REVISIONS",
    "calibration",
    "experiments",
    "image_files",
    "image_roots",
    "images",
    "loop",
    "metadata",
    "models",
    "project",
    "review",
    "run_images",
    "runs",
    "shards",
    "triages",
    "truth_images",
]
