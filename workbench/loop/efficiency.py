"""Efficiency (C6): masks an image, seconds a mask, hours, and what is saved; measured, or assumed and said to be so."""

from __future__ import annotations

import dataclasses
from typing import Any

from workbench.plotted import Plotted


@dataclasses.dataclass(frozen=True)
class Work:
    """An amount of annotation: images, masks, and seconds of people's time for each mask.

    basis : "measured" or "assumed"; how : where the seconds come from
    """

    name: str
    images: int
    masks: int
    seconds_per_mask: float
    basis: str = "assumed"
    how: str = ""

    def __post_init__(self) -> None:
        if self.images < 0 or self.masks < 0 or not self.seconds_per_mask >= 0:
            raise ValueError(
                f"{self.name}: expected images, masks and seconds of 0 or more, got {self.images}, {self.masks}, "
                f"{self.seconds_per_mask}"
            )

    @classmethod
    def of_hours(cls, name: str, images: int, masks: int, hours: float, basis: str = "measured", how: str = "") -> Work:
        """Return the work whose total time is known."""
        return cls(name, images, masks, hours * 3600 / masks if masks else 0.0, basis, how)

    @property
    def masks_per_image(self) -> float:
        """Masks ÷ images; NaN without images."""
        return self.masks / self.images if self.images else float("nan")

    @property
    def hours(self) -> float:
        """Masks × seconds a mask ÷ 3,600."""
        return self.masks * self.seconds_per_mask / 3600


@dataclasses.dataclass(frozen=True)
class Efficiency(Plotted):
    """Semi-automatic work beside an earlier stage and beside drawing everything by hand.

    stage1 : the stage before, None where there was none; manual : the same masks all drawn by hand
    notes : what to know when reading the figures
    """

    semi: Work
    manual: Work
    stage1: Work | None = None
    notes: tuple[str, ...] = ()

    @property
    def saving(self) -> float:
        """1 − hours ÷ hours of Stage 1; NaN without."""
        return 1 - self.semi.hours / self.stage1.hours if self.stage1 and self.stage1.hours else float("nan")

    @property
    def more_masks(self) -> float:
        """Masks ÷ masks of Stage 1 − 1; NaN without."""
        return self.semi.masks / self.stage1.masks - 1 if self.stage1 and self.stage1.masks else float("nan")

    @property
    def gain(self) -> float:
        """Hours by hand ÷ hours; NaN where no time was spent."""
        return self.manual.hours / self.semi.hours if self.semi.hours else float("nan")

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each work: name, masks an image, seconds a mask, hours, basis, how."""
        works = [work for work in (self.stage1, self.semi, self.manual) if work]
        return [
            {
                "work": work.name,
                "images": work.images,
                "masks": work.masks,
                "masks_per_image": work.masks_per_image,
                "seconds_per_mask": work.seconds_per_mask,
                "hours": work.hours,
                "basis": work.basis,
                "how": work.how,
            }
            for work in works
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return rows and savings as plain values for JSON; what is not known is None."""
        figures = {"saving": self.saving, "more_masks": self.more_masks, "gain": self.gain}
        known = {k: None if v != v else v for k, v in figures.items()}
        rows = [{k: None if v != v else v for k, v in row.items()} for row in self.rows()]
        return {"rows": rows, **known, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [
            f"{r['work']:28} {r['masks_per_image']:6.1f} masks an image, {r['seconds_per_mask']:5.1f} s a mask, "
            f"{r['hours']:10,.1f} h ({r['basis']})"
            for r in self.rows()
        ]
        lines.append(f"{self.gain:.1f} times the masks an hour of pure manual work")
        if self.stage1:
            lines.append(
                f"{self.saving:.0%} fewer hours than {self.stage1.name}, with {self.more_masks:.0%} more masks"
            )
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def measured(
    images: int,
    masks: int,
    active_s: float,
    drawn: int,
    drawing_s: float,
    *,
    basis: str = "measured",
    assumed_manual_s: float = 34.0,
) -> Efficiency:
    """Return the efficiency of work whose seconds were written down.

    Parameters
    ----------
    images, masks : done, and their final masks; active_s : people's active seconds on them, all phases
    drawn, drawing_s : masks drawn or edited by hand, and the seconds of that phase: what one by hand takes here
    basis : "measured", or "simulated" where an oracle's seconds were stated
    assumed_manual_s : seconds a mask by hand where none was drawn; the seed's early Stage 1
    """
    semi = Work.of_hours("semi-automatic", images, masks, active_s / 3600, basis, "active seconds of the journal")
    if drawn:
        by_hand, how = drawing_s / drawn, f"seconds of the {drawn:,} masks drawn here"
        return Efficiency(semi, Work("all by hand", images, masks, by_hand, basis, how))
    how = f"{assumed_manual_s:g} s a mask are assumed: none was drawn here"
    return Efficiency(semi, Work("all by hand", images, masks, assumed_manual_s, "assumed", how))


def seed() -> Efficiency:
    """Return the seed's arithmetic (section 5): 35.8 and 32.8 masks an image, 13,100 h, 22 %, 2.3 times.

    Source: the seed document; masks and images from Kirillov et al. 2023, Segment Anything, section 4.
    """
    stage1 = Work("Stage 1", 120_000, 4_300_000, 14, "assumed", "what the seed's 16,700 h take")
    stage2 = Work("Stage 2", 180_000, 5_900_000, 8, "assumed", "the seed: 8 s a mask, review included")
    manual = Work.of_hours("Stage 2, all by hand", 180_000, 5_900_000, 30_000, "assumed", "the seed: about 30,000 h")
    at_15_s = Work("Stage 1", 120_000, 4_300_000, 15).hours
    return Efficiency(
        stage2,
        manual,
        stage1,
        (
            f"The seed states 15 s a mask for Stage 1, which gives {at_15_s:,.0f} h; its 16,700 h need 14 s.",
            f"Its 30,000 h by hand are {manual.seconds_per_mask:.1f} s a mask, between the 34 s and 14 s it states.",
        ),
    )
