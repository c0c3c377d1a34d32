"""Memory of `propose`: `python -m benchmarks.memory [--json F] [--images N]`.

The peak of one image of 1500×2250 px above what the process held with the model loaded and everything compiled, in the
default run of the bundled model (floors, jitter, features); and how much more the process holds at the end of a project
of many small images than after its first tenth, as it is and without what the C library holds free for later.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import workbench as wb
from benchmarks.amg_end_to_end import photograph
from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, processor

SIZE_HW = (1500, 2250)
MOST_GB = 1.5
MOST_GROWTH_MB = 20.0  # what allocators keep or give back from one image to the next
SMALL_PX = 64


def held_mb(what: str) -> float:
    """Return VmRSS (now) or VmHWM (the most since `forget_peak`) of this process, MB of 10⁶ bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024 / 1e6


def forget_peak() -> None:
    """Let VmHWM start anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def used_mb() -> float:
    """Return VmRSS after the C library has given back what it holds free (glibc; elsewhere the plain figure)."""
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
    return held_mb("VmRSS")


def peak(points: int) -> list[Row]:
    """Peak above the model on one large image."""
    sam, config = wb.load_sam(device="cpu"), wb.preset("bundled").propose
    wb.propose(photograph((256, 256)), sam, config.replace(points_per_side=8))
    gc.collect()
    image = photograph(SIZE_HW)
    before = held_mb("VmRSS")
    forget_peak()
    stored = len(wb.propose(image, sam, config.replace(points_per_side=points)))
    name = f"propose at {SIZE_HW[0]}×{SIZE_HW[1]}, {points} × {points} points"
    return [
        Row(f"{name}: peak above the model", (held_mb("VmHWM") - before) / 1000, "GB", None, 1, MOST_GB, "<="),
        Row(f"{name}: the model and all that is loaded", before / 1000, "GB", None, 1, None, "<="),
        Row(f"{name}: masks stored", float(stored), "masks", None, 1, None, ">="),
    ]


def growth(images: int) -> list[Row]:
    """How much more is held after many images than after a tenth of them."""
    sam = wb.load_sam(device="cpu")
    config = wb.preset("bundled").propose.replace(points_per_side=4, crop_n_layers=0, jitter_prompts=2)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for k in range(images):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            pixels = np.kron(coarse, np.ones((SMALL_PX // 4, SMALL_PX // 4, 1), np.uint8))
            Image.fromarray(pixels).save(Path(folder) / f"{k}.png")
        with wb.Project.create(Path(folder) / "p.wb", f"{folder}/*.png") as project:
            project.propose(sam, config, limit=images // 10, progress=False)
            gc.collect()
            early, early_used = held_mb("VmRSS"), used_mb()
            done = project.propose(sam, config, progress=False).done
            gc.collect()
            late, late_used = held_mb("VmRSS"), used_mb()
    name = f"growth over {images} images"
    return [
        Row(name, late - early, "MB", None, done, MOST_GROWTH_MB, "<="),
        Row(f"{name}: without what the allocator keeps free", late_used - early_used, "MB", None, done, None, "<="),
    ]


def main() -> None:
    """Measure, print, and write the rows where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--points", type=int, default=32, help="side of the point grid on the large image")
    options = parser.parse_args()
    rows = [*peak(options.points), *growth(options.images)]
    write_rows("memory", commit(), processor(), rows, options.json)


if __name__ == "__main__":
    main()
