"""Efficiency (C6): masks an image, seconds a mask, hours, and what is saved; measured, simulated, or assumed and said so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.plain import plain
from workbench.plotted import Plotted
from workbench.review import timing
from workbench.store import journal
from workbench.tables.events import ReviewEvent

if TYPE_CHECKING:
    from workbench.reviewing import Reviewing

STAGE1_S = 14.0  # seconds a mask with which Stage 1 of Segment Anything ended
BY_HAND_S = 34.0  # and with which it began: nearly all by hand
NOTHING = "Nothing to account for: no image is complete with its seconds in the journal; review some first."


@dataclasses.dataclass(frozen=True)
class Work:
    """An amount of annotation: images, masks, and seconds of people's time on all of them.

    basis : "measured", "simulated" (an oracle's seconds) or "assumed"; how : where the seconds come from
    """

    name: str
    images: int
    masks: int
    seconds: float
    basis: str = "assumed"
    how: str = ""

    def __post_init__(self) -> None:
        if self.images < 0 or self.masks < 0 or not self.seconds >= 0:
            raise ValueError(
                f"{self.name}: expected images, masks and seconds of 0 or more, got {self.images}, {self.masks}, "
                f"{self.seconds}"
            )

    @classmethod
    def at(
        cls, name: str, images: int, masks: int, seconds_per_mask: float, basis: str = "assumed", how: str = ""
    ) -> Work:
        """Return the work of so many seconds a mask."""
        return cls(name, images, masks, masks * seconds_per_mask, basis, how)

    @property
    def masks_per_image(self) -> float:
        """Masks ÷ images; NaN without images."""
        return self.masks / self.images if self.images else float("nan")

    @property
    def seconds_per_mask(self) -> float:
        """Seconds ÷ masks; NaN without masks."""
        return self.seconds / self.masks if self.masks else float("nan")

    @property
    def hours(self) -> float:
        """Seconds ÷ 3,600."""
        return self.seconds / 3600


@dataclasses.dataclass(frozen=True)
class Efficiency(Plotted):
    """Semi-automatic work beside an earlier stage and beside drawing everything by hand.

    stage1 : the stage before, None where there was none; manual : the same masks all drawn by hand
    notes : what to know when reading the figures
    of : whose work it is, as it stands above the figures
    """

    semi: Work
    manual: Work
    stage1: Work | None = None
    notes: tuple[str, ...] = ()
    of: str = "this project"

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
        """Hours by hand ÷ hours; NaN where no time was spent, or for no mask."""
        return self.manual.hours / self.semi.hours if self.semi.masks and self.semi.hours else float("nan")

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
        return plain({"of": self.of, "rows": self.rows(), **figures, "notes": self.notes})

    def lines(self) -> list[str]:
        """Return the figures as lines of words: a line for each work, what is saved, and the notes."""
        if not self.semi.images:
            return [*self.notes] or [NOTHING]
        if not self.semi.masks:
            spent = f"{_hours(self.semi.hours)} h ({self.semi.basis})"
            words = f"{_images(self.semi.images)} complete, without a mask: {spent}; seconds a mask are not known"
            return [words, *self.notes]
        lines = [
            f"{r['work']}: {r['masks_per_image']:.1f} masks an image, {r['seconds_per_mask']:.1f} s a mask, "
            f"{_hours(r['hours'])} h ({r['basis']}; {r['how']})"
            for r in self.rows()
        ]
        if self.semi.hours:
            lines.append(f"{self.gain:.1f} times the masks an hour of pure manual work")
        if self.stage1 and self.stage1.hours:
            change = f"{abs(self.saving):.0%} {'fewer' if self.saving >= 0 else 'more'} hours than {self.stage1.name}"
            more = f", with {self.more_masks:.0%} more masks" if self.more_masks else ", for the same masks"
            lines.append(change + more)
        return [*lines, *self.notes]

    def __str__(self) -> str:
        return "\n".join([f"Efficiency of {self.of}", *self.lines()])

    __repr__ = __str__


def _images(n: int) -> str:
    return f"{n:,} image{'s' * (n != 1)}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def measured(
    images: int,
    masks: int,
    active_s: float,
    drawn: int,
    drawing_s: float,
    *,
    basis: str = "measured",
    manual_s: float | None = None,
    stage1_s: float | None = None,
    notes: tuple[str, ...] = (),
) -> Efficiency:
    """Return the efficiency of work whose seconds were written down.

    Parameters
    ----------
    images, masks : done, and their final masks; active_s : people's active seconds on them, all phases
    drawn, drawing_s : masks drawn or edited by hand, and the seconds of that phase: what one by hand takes here
    basis : "measured", or "simulated" where an oracle's seconds were stated
    manual_s : assumed seconds a mask by hand; None for those of the masks drawn here, the seed's 34 s where there are none,
        or no seconds of them
    stage1_s : assumed seconds a mask of an earlier stage on the same masks; None for no such row
    """
    semi = Work("semi-automatic", images, masks, active_s, basis, "active seconds of the journal")
    if manual_s is None and drawn and drawing_s:
        how = f"the {drawing_s / drawn:.1f} s of each of the {drawn:,} masks drawn here, taken for all"
        manual = Work.at("all by hand", images, masks, drawing_s / drawn, basis, how)
        notes = (
            *notes,
            "Masks that are left to be drawn are the difficult ones: one by hand may take less on average.",
        )
    else:
        seconds = BY_HAND_S if manual_s is None else manual_s
        why = ": no seconds of drawing here" if drawn else ": none was drawn here"
        how = f"{seconds:g} s a mask are assumed{why if manual_s is None else ''}"
        manual = Work.at("all by hand", images, masks, seconds, "assumed", how)
    if drawn and not drawing_s:
        lacking = f"{drawn:,} drawn or edited masks have no seconds in the journal: the hours lack that work"
        notes = (*notes, f"{lacking}, and savings are too high.")
    stage1 = None
    if stage1_s is not None:
        stage1 = Work.at("Stage 1", images, masks, stage1_s, "assumed", f"{stage1_s:g} s a mask are assumed")
    return Efficiency(semi, manual, stage1, notes)


class UnwantedError(Exception):
    """Nobody waits any more for what was being counted."""


def of_project(
    project: Reviewing,
    manual_s: float | None = None,
    stage1_s: float | None = STAGE1_S,
    wanted: Callable[[], bool] = lambda: True,
) -> Efficiency:
    """Return the efficiency of the complete images of a project; see `Looping.efficiency`.

    Parameters
    ----------
    wanted : asked before each image, whether anybody still waits for it

    Raises
    ------
    UnwantedError : when nobody does
    """
    complete = project.reviewed_images("complete")
    with project.catalog.read() as connection:
        events = journal.events(connection, purpose="review")
    by_basis: dict[str, list[str]] = {"measured": [], "simulated": [], "": []}
    for image in complete:
        by_basis[_basis(events.get(image, []))].append(image)
    basis = "measured" if by_basis["measured"] or not by_basis["simulated"] else "simulated"
    chosen = by_basis[basis]
    masks = drawn = 0
    for final in project._final_by_image(chosen):
        if not wanted():
            raise UnwantedError
        masks += len(final)
        drawn += int((final.source != "automatic").sum())
    config = project.review_config
    seconds = timing.active_s([e for image in chosen for e in events[image]], config.idle_s, config.drawing_s)
    return measured(
        len(chosen), masks, sum(seconds.values()), drawn, seconds["draw"],
        basis=basis, manual_s=manual_s, stage1_s=stage1_s, notes=_notes(basis, by_basis),
    )  # fmt: skip


def _basis(events: Sequence[ReviewEvent]) -> str:
    """Where the seconds of an image come from; "" where there are none, or of both kinds."""
    sources = {event.seconds_source for event in events if event.elapsed_ms > 0}
    return sources.pop() if len(sources) == 1 else ""


def _notes(basis: str, by_basis: dict[str, list[str]]) -> tuple[str, ...]:
    notes = []
    if not by_basis[basis]:
        notes.append(NOTHING)
    elif basis == "simulated":
        notes.append("The seconds are an oracle's, stated in OracleConfig: they say nothing of people.")
    other = len(by_basis["simulated"]) if basis == "measured" else 0
    if other:
        notes.append(f"Left out: {_images(other)} with simulated seconds.")
    if by_basis[""]:
        notes.append(f"Left out: {_images(len(by_basis['']))} complete without seconds, or with both kinds of them.")
    return tuple(notes)


def seed() -> Efficiency:
    """Return the seed's arithmetic (section 5): 35.8 and 32.8 masks an image, 13,100 h, 22 %, 2.3 times.

    Source: the seed document; masks and images from Kirillov et al. 2023, Segment Anything, section 4.
    """
    stage1 = Work.at("Stage 1", 120_000, 4_300_000, 14, "assumed", "what the seed's 16,700 h take")
    stage2 = Work.at("Stage 2", 180_000, 5_900_000, 8, "assumed", "the seed: 8 s a mask, review included")
    manual = Work("Stage 2, all by hand", 180_000, 5_900_000, 30_000 * 3600, "assumed", "the seed: about 30,000 h")
    at_15_s = Work.at("Stage 1", 120_000, 4_300_000, 15).hours
    return Efficiency(
        stage2,
        manual,
        stage1,
        (
            f"The seed states 15 s a mask for Stage 1, which gives {at_15_s:,.0f} h; its 16,700 h need 14 s.",
            f"Its 30,000 h by hand are {manual.seconds_per_mask:.1f} s a mask, between the 34 s and 14 s it states.",
        ),
        "the seed, as stated",
    )
