"""Every notebook runs from top to bottom, shows pictures, and is stored without output."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CONCLUSIONS = {
    "02-tune-thresholds": [
        r"Chosen: predicted IoU [\d.]+, jitter stability (off|[\d.]+): accepts \d+ of \d+",
        r"recall of accepted [\d.]+ \[[\d.]+, [\d.]+\], wrong at IoU 0.5",
        r"Points that these images do not tell from it by recall: \d+ of 14",
    ]
}
# fewer points and steps than the notebooks have, which take minutes; every cell and every cycle is run
FEWER = {
    "01-propose-and-look": {
        "wb.propose(coins, sam, settings.propose)": "wb.propose(coins, sam, settings.propose.replace(points_per_side=8))"
    },
    "04-five-cycles": {
        "points_per_side=16, crop_n_layers=0, jitter_prompts=4": "points_per_side=8, crop_n_layers=0, jitter_prompts=2",
        "steps=12, check_every=12": "steps=3, check_every=3",
    },
}
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_notebooks__are_there():
    assert [path.name for path in NOTEBOOKS][:1] == ["01-propose-and-look.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook__is_stored_without_output(path):
    cells = nbformat.read(path, as_version=4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook__runs(path, tmp_path):
    text = path.read_text("utf-8")
    for written, fewer in FEWER.get(path.stem, {}).items():
        assert text.count(written) == 1
        text = text.replace(written, fewer)
    notebook = nbformat.reads(text, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr" and "Warning" in o.text]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    printed = "".join(o.text for o in outputs if o.output_type == "stream")
    for pattern in CONCLUSIONS.get(path.stem, ()):
        assert re.search(pattern, printed), printed
    if path.stem == "02-tune-thresholds":  # what was chosen is what the project's triage is now
        (accepted,) = re.findall(r"Chosen: .*accepts (\d+) of", printed)
        assert f"{accepted} auto_accepted" in printed
