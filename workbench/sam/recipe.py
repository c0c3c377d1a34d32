"""What a training run of the bundled SAM is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.sam.lessons import Lessons
from workbench.sam.scenes import VALIDATION_SEEDS

SEEDS_EACH = 100_000_000  # of scenes for each process, the second half for whole frames
# when a run goes on
MAY_CHANGE = ("steps", "minutes", "device", "check_every", "processes", "workers", "kept")


@dataclass(frozen=True)
class Recipe:
    """What a training run is made of; written into its log.

    seed : of weights, prompts, turns and light; the scenes follow from `first_scene`
    steps (0: by time), minutes
    device : "cpu" or a device of CUDA, where encoder and decoder run in bfloat16
    windows, window_px : scenes a step, their side; a quarter of them (`new`) were not used before
    frame_px : side of whole frames, of which a step takes a quarter as many (`frames`)
    prompts : of each scene
    dense_share : share of the run without prompts
    learning_rate, decay, average : peak rate of AdamW, its weight decay, the moving average's decay
    check_every : steps between checks on held-out scenes; checks : how many scenes
    processes : how many train together, each on scenes of its own; the numbers above are for one of them
    workers : processes that draw ahead for each; kept : scenes each keeps to use again
    first_scene : the first seed trained on; each process has a hundred million of them, all below `VALIDATION_SEEDS`

    Raises
    ------
    ValueError : for numbers that make no run, or seeds that are kept for measuring
    """

    seed: int = 0
    steps: int = 0
    minutes: float = 120.0
    device: str = "cpu"
    windows: int = 2
    window_px: int = 256
    frame_px: int = 512
    prompts: int = 32
    dense_share: float = 0.12
    learning_rate: float = 1.0e-3
    decay: float = 0.02
    average: float = 0.998
    check_every: int = 400
    checks: int = 24
    processes: int = 2
    workers: int = 1
    kept: int = 1000
    first_scene: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if self.steps < 0 or not self.minutes > 0:
            raise ValueError(f"expected steps of 0 or more, and minutes above 0, got {self.steps} and {self.minutes:g}")
        for name in ("windows", "prompts", "processes", "checks", "check_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.workers < 0 or not 0 <= self.dense_share <= 1:
            raise ValueError(
                f"expected workers of 0 or more, and a dense_share in [0, 1], got {self.workers} and {self.dense_share:g}"
            )
        last = self.first_scene + SEEDS_EACH * self.processes
        if self.first_scene < 0 or last > VALIDATION_SEEDS:
            raise ValueError(
                f"first_scene: seeds {self.first_scene:,} to {last:,} would be trained on, expected 0 to {VALIDATION_SEEDS:,}: those "
                "from there on are kept for measuring"
            )

    @property
    def frames(self) -> int:
        """Whole frames of a step."""
        return math.ceil(self.windows / 4)

    @property
    def new(self) -> int:
        """Windows of a step that were not used before."""
        return math.ceil(self.windows / 4)

    def on_windows(self, first_seed: int) -> Lessons:
        """Return what is asked on windows."""
        return Lessons(self.window_px, self.windows, self.new, self.prompts, self.kept, first_seed, self.seed)

    def on_frames(self, first_seed: int) -> Lessons:
        """Return what is asked on whole frames."""
        new = math.ceil(self.frames / 4)
        return Lessons(self.frame_px, self.frames, new, self.prompts, max(1, self.kept // 4), first_seed, self.seed)


def learning_rate(peak: float, step: int, rise: int, progress: float) -> float:
    """Return a step's rate: a rise over so many steps to the peak, then half a cosine down to a fiftieth of it.

    Source: Loshchilov & Hutter 2017, SGDR, with one cycle.
    """
    return peak * min(1.0, (step + 1) / max(1, rise)) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


TOY = Recipe(
    steps=30, windows=2, window_px=64, frame_px=64, prompts=8, check_every=15, checks=2, processes=1, workers=0, kept=8,
    average=0.9,
)  # fmt: skip
