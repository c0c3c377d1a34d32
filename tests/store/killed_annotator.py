"""Records events into a project as fast as it can and says which were acknowledged; made to be killed.

Arguments: the project's folder, the image, how many events go into a transaction. A line is printed, and flushed, after
each call of `record` has returned: the gestures that are acknowledged.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from workbench.project import Project
from workbench.tables.events import ReviewEvent


def main() -> None:
    folder, image, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    project = Project.open(folder)
    ids = project.image_review(image).masks.mask_id.tolist()
    while True:
        payloads = [{"verdict": "accept" if k % 2 else "reject"} for k in range(batch)]
        events = [
            ReviewEvent(uuid.uuid4().hex, image, "verdict", ids[k % len(ids)], payload, "a")
            for k, payload in enumerate(payloads)
        ]
        told = project.record(events)
        print(" ".join(f"{t.gesture_id}:{t.sequence}" for t in told), flush=True)


if __name__ == "__main__":
    main()
