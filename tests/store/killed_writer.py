"""Proposes into projects and is killed: reads one scenario a line, forks a child for each, tells how it ended.

A scenario is {"project": folder, "point": name, "nth": n}, killed when the n-th such point of the write path is
reached; or {"project": folder, "after_s": t}, killed after that time; or {"project": folder, "limit_bytes": b}, with
the largest file that the system lets it write. One process serves all, so that the imports are paid for once.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas  # noqa: F401 - pyarrow wants it, and importing takes longer than all else
import stub_sam
import tqdm.auto  # noqa: F401

from workbench.project import Project
from workbench.store import files, runs
from workbench.store.errors import StoreError

DISK_FULL = 7


def kill_at(point: str, nth: int) -> None:
    seen = 0

    def reached(name: str) -> None:
        nonlocal seen
        seen += name == point
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    files.reached = reached


def propose(scenario: dict) -> None:
    runs.Limits = functools.partial(runs.Limits, images=4)
    stub_sam.install(seconds=0.004 if "after_s" in scenario else 0.0)
    if "point" in scenario:
        kill_at(scenario["point"], scenario["nth"])
    if "limit_bytes" in scenario:
        stub_sam.install(stub_sam.propose_noise)
        resource.setrlimit(resource.RLIMIT_FSIZE, (scenario["limit_bytes"],) * 2)
    with Project.open(scenario["project"]) as project:
        try:
            project.propose(stub_sam.StubSam(), stub_sam.PLAIN, progress=False)
        except StoreError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            os._exit(DISK_FULL)


def main() -> None:
    for line in sys.stdin:
        scenario = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                propose(scenario)
            except BaseException as error:
                print(json.dumps({"error": repr(error)}), flush=True)
                os._exit(1)
            os._exit(0)
        if "after_s" in scenario:
            time.sleep(scenario["after_s"])
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
