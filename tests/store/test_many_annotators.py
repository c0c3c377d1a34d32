"""Many processes on one project, and one that is killed while events stream."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import desk
import pytest

from workbench.project import Project

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PROCESSES = 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    desk.install(monkeypatch)
    with desk.make(tmp_path, n=40) as made:
        for k in range(PROCESSES):
            made.add_annotator(f"p{k}")
    return made.path


def start(script, *arguments, **more):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_claims__twenty_processes_never_get_the_same_image(folder):
    worker = start("claiming.py", folder, *(f"p{k}" for k in range(PROCESSES)))
    said, errors = worker.communicate(timeout=300)
    assert (worker.returncode, errors) == (0, "")
    shares = json.loads(said)
    assert len(shares) == PROCESSES
    given = [image for share in shares for image in share]
    with Project.open(folder) as project:
        assert sorted(given) == sorted(project.images()["image_id"])
        journal = project.journal()
        assert len(journal) == 80
        assert not journal["stale"].any()
        assert journal["sequence"].is_unique


@pytest.mark.parametrize("batch", [1, 5])
def test_journal__killed_while_events_stream_keeps_what_was_acknowledged_once(folder, batch):
    acknowledged = {}
    rng = random.Random(batch)
    with Project.open(folder) as project:
        image = project.images()["image_id"][0]
    for _ in range(4):
        worker = start("killed_annotator.py", folder, image, batch)
        first = worker.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.5))
        worker.send_signal(signal.SIGKILL)
        rest, errors = worker.communicate(timeout=60)
        assert first, errors
        lines = (first + rest).split("\n")[:-1]  # a line that was cut off was not heard
        acknowledged |= dict(pair.split(":") for line in lines for pair in line.split())
    with Project.open(folder) as project:
        journal = project.journal()
        assert project.catalog.faults() == []
    kept = dict(zip(journal["gesture_id"], journal["sequence"].astype(str), strict=True))
    assert journal["gesture_id"].is_unique
    assert acknowledged.items() <= kept.items()
    unheard = len(kept) - len(acknowledged)
    assert unheard <= 4 * batch  # at most the last transaction before each kill
    assert len(kept) % batch == 0  # a batch is there whole or not at all
