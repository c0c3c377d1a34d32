"""Claims images of a project and completes them until none is left; many of these run at once.

Arguments: the project's folder, the annotator. Prints the images it was given, one JSON list.
"""

from __future__ import annotations

import json
import sys
import uuid

from workbench.project import Project
from workbench.tables.events import ReviewEvent


def main() -> None:
    folder, name = sys.argv[1:3]
    with Project.open(folder) as project:
        queue, given = project.queue(), []
        print("ready", flush=True)
        sys.stdin.readline()  # all begin at once
        while (claim := queue.claim(name)) is not None:
            given.append(claim.image_id)
            first = ReviewEvent(
                uuid.uuid4().hex, claim.image_id, "answer", "", {"dialog": "overlap", "choice": "keep"}, name
            )
            project.record(first, queue.renew(claim))
            (told,) = project.record(ReviewEvent(uuid.uuid4().hex, claim.image_id, "complete", annotator=name), claim)
            assert not told.stale
        print(json.dumps(given), flush=True)


if __name__ == "__main__":
    main()
