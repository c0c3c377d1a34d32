"""Claims images of a project and completes them until none is left, by many processes at once.

Arguments: the project's folder, the annotators, a process each. Prints the images that each was given, one JSON list.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import uuid
from multiprocessing.synchronize import Barrier

from workbench.project import Project
from workbench.tables.events import ReviewEvent


def begin(barrier: Barrier) -> None:
    global together
    together = barrier


def claim_all(folder: str, name: str) -> list[str]:
    with Project.open(folder) as project:
        queue, given = project.queue(), []
        together.wait(300)  # all begin at once
        while (claim := queue.claim(name)) is not None:
            given.append(claim.image_id)
            first = ReviewEvent(
                uuid.uuid4().hex, claim.image_id, "answer", "", {"dialog": "overlap", "choice": "keep"}, name
            )
            project.record(first, queue.renew(claim))
            (told,) = project.record(ReviewEvent(uuid.uuid4().hex, claim.image_id, "complete", annotator=name), claim)
            assert not told.stale
    return given


def main() -> None:
    folder, *names = sys.argv[1:]
    with Project.open(folder) as project:  # what is imported late is imported once
        project.queue()
    forking = multiprocessing.get_context("fork")
    barrier = forking.Barrier(len(names))
    with forking.Pool(len(names), begin, (barrier,)) as processes:
        given = processes.starmap(claim_all, [(folder, name) for name in names], chunksize=1)
    print(json.dumps(given))


if __name__ == "__main__":
    main()
