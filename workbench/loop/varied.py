"""Diversity of a project's final masks (C7): of all of them, of automatic and drawn ones, and of what each cycle gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.loop.diversity import Diversity, diversity, occlusion
from workbench.masks import matching
from workbench.plotted import Plotted
from workbench.tables.figures import Interval
from workbench.tables.intervals import bootstrap
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd

    from workbench.reviewing import Reviewing
    from workbench.sam.segmenter import Segmenter

By = Literal["source", "cycle"]
SMALL_IOU = 0.5
NOTHING = "No final masks yet: complete the review of some images first."


@dataclasses.dataclass(frozen=True, repr=False)
class DiversityTable(Plotted):
    """Diversity of sets of final masks beside one reference.

    rows : one for each set, all final masks first; reference : "ground truth", or "all final masks" where some image has none
    notes : what to know when reading the figures
    """

    rows: tuple[Diversity, ...]
    reference: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return rows, reference and notes as plain values for JSON; what is not known is None."""
        return {"rows": [row.to_dict() for row in self.rows], "reference": self.reference, "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each set: its figures, and the share of its masks in each quarter of the reference's sizes."""
        import pandas as pd

        return pd.DataFrame([_flat(row) for row in self.rows])

    def lines(self) -> list[str]:
        """Return a line of words for each set of masks, and the notes."""
        return [*(_words(row) for row in self.rows if row.n), *self.notes]

    def __repr__(self) -> str:
        return "\n".join([f"Diversity of final masks beside {self.reference}", *self.lines()])


def _flat(row: Diversity) -> dict[str, Any]:
    shares = {f"size_share_{k + 1}": share for k, share in enumerate(row.size_shares.tolist())}
    small = {"small_found": row.small_found.value, "small_found_low": row.small_found.low}
    small |= {"small_found_high": row.small_found.high, "small_found_n": row.small_found.n}
    names = ("occlusion", "occluded", "rarity", "categories", "labelled", "grouped_by")
    return {"masks": row.what, "n": row.n, **shares, **small, **{name: getattr(row, name) for name in names}}


def _words(row: Diversity) -> str:
    sizes = "quarters of sizes not known"
    if np.isfinite(row.size_shares).all():
        sizes = f"{', '.join(f'{share:.0%}' for share in row.size_shares)} by quarter of sizes, from small to large"
    words = f"{row.what}: {row.n:,} masks; {sizes}; "
    words += f"small ones found {row.small_found}; {row.occluded:.0%} touched by others"
    if row.labelled:
        one, more = ("label", "labels") if row.grouped_by == "label" else ("cluster", "clusters of embeddings")
        rare = "not known" if np.isnan(row.rarity) else f"{row.rarity:.2f}"
        words += f"; {row.labelled:,} with a {one}: rarity {rare}"
        if not np.isnan(row.categories):
            words += f", as varied as {row.categories:.1f} equal {more}"
    return words


# ---- of a project -------------------------------------------------------------------------------------------------


def of_project(
    project: Reviewing,
    by: By,
    batches: Mapping[int, Sequence[str]],
    sam: Segmenter | None = None,
    clusters: int = 8,
) -> DiversityTable:
    """Return the diversity of a project's final masks; see `Looping.diversity`.

    Parameters
    ----------
    batches : ids of images by cycle; only looked at by="cycle"
    """
    complete = project.reviewed_images("complete")
    final, names = project.final_masks(complete), project.final_labels(complete)["label"].to_numpy(object)
    reference, reference_names, what = _reference(project, complete, final, names)
    grouped = "label"
    if sam is not None and len(final):
        names, reference_names = _clusters(project, sam, final, reference, clusters)
        grouped = "embedding"
    sets = _sets(final, by, batches)
    rng, touched = np.random.default_rng([abs(project.seed), 7]), occlusion(final)
    rows = []
    for some in sets:
        own = final.select(some.rows)
        row = diversity(own, reference, names[some.rows], reference_names, some.what, touched[some.rows])
        images = complete if some.images is None else [image for image in complete if image in some.images]
        small = _small_found(own, reference, images, rng)
        rows.append(dataclasses.replace(row, small_found=small, grouped_by=grouped if row.grouped_by else ""))
    return DiversityTable(tuple(rows), what, _notes(by, len(complete), what, len(reference), grouped, rows))


class _Set(NamedTuple):
    what: str
    rows: NDArray[Any]
    images: frozenset[str] | None = None


def _sets(final: Proposals, by: By, batches: Mapping[int, Sequence[str]]) -> list[_Set]:
    sets = [_Set("all final masks", np.arange(len(final)))]
    if by == "source":
        drawn = final.source != "automatic"
        return [*sets, _Set("automatic", np.flatnonzero(~drawn)), _Set("drawn or edited", np.flatnonzero(drawn))]
    for number, images in batches.items():
        rows = np.flatnonzero(np.isin(final.image_id.astype(str), list(images)))
        sets.append(_Set(f"cycle {number}", rows, frozenset(images)))
    return sets


def _reference(
    project: Reviewing, complete: Sequence[str], final: Proposals, names: NDArray[np.object_]
) -> tuple[Proposals, NDArray[np.object_], str]:
    """Return masks and labels to compare with: the truth where all images have it, else all final masks."""
    frame = project.images()
    known = set(frame.loc[frame["truth"].notna(), "image_id"])
    if not complete or not known.issuperset(complete):
        return final, names, "all final masks"
    truth, words = project.truth(complete), project.truth_labels(complete)
    one = ~words["crowd"].to_numpy(bool)
    labels = words["label"].fillna("").to_numpy(object)[one]
    if not any(labels) and any(names):
        labels = names  # people gave categories where the truth has none
    return truth.select(one), labels, "ground truth"


def _small_found(masks: Proposals, reference: Proposals, images: Sequence[str], rng: np.random.Generator) -> Interval:
    """Return the share of the reference's small masks on some images that the masks find."""
    if not len(reference):
        return Interval.unknown()
    small = reference.area_px <= np.quantile(reference.area_px, 0.25)
    own, true, nothing = dict(masks.by_image()), dict(reference.by_image()), np.zeros(0, np.int64)
    found, total = np.zeros(len(images)), np.zeros(len(images))
    for k, image in enumerate(images):
        rows, theirs = own.get(image, nothing), true.get(image, nothing)
        total[k] = small[theirs].sum()
        if len(rows) and total[k]:
            height, width = (int(v) for v in reference.sizes_hw[theirs[0]])
            pairs = matching.match(
                reference.rles[theirs].tolist(), masks.rles[rows].tolist(), (height, width), SMALL_IOU
            )
            found[k] = small[theirs[pairs[0]]].sum()
    return bootstrap(found, rng, total)


def _notes(
    by: By, complete: int, reference: str, beside: int, grouped: str, rows: Sequence[Diversity]
) -> tuple[str, ...]:
    """Return what to know of the rows: so many images are complete, and so many masks the reference has."""
    if not complete:
        return (NOTHING,)
    if not rows[0].n:
        return (f"{complete:,} image{'s' * (complete != 1)} complete, without a mask.",)
    notes = []
    if by == "cycle" and len(rows) == 1:
        notes.append("No cycles were run: project.run_cycles(5, ...), or workbench cycle.")
    if reference != "ground truth":
        notes.append("Sizes, small masks and rarity are beside all final masks: not every image has ground truth.")
    if not beside:
        notes.append("Quarters of sizes and small masks are not known: the ground truth has no masks.")
    if np.isnan(rows[0].rarity):
        notes.append(f"Rarity is not known: {_why_no_rarity(rows[0], grouped)}.")
    return tuple(notes)


def _why_no_rarity(row: Diversity, grouped: str) -> str:
    if grouped == "embedding":
        return "the ground truth has no masks to group"
    if not row.labelled:
        return "no mask has a label, and no model was given to group them by"
    return f"{row.labelled:,} of {row.n:,} masks have a label; it takes half of them, and of those they are beside"


# ---- embeddings ---------------------------------------------------------------------------------------------------


def _clusters(
    project: Reviewing, sam: Segmenter, masks: Proposals, reference: Proposals, clusters: int
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return for each mask, and each of the reference, the number of its embedding's cluster, fitted on the reference."""
    own, theirs = pooled_embedding(project, sam, masks), pooled_embedding(project, sam, reference)
    if not len(theirs):
        return np.full(len(masks), "", object), np.zeros(0, object)
    from sklearn.cluster import KMeans

    middle, spread = theirs.mean(axis=0), np.maximum(theirs.std(axis=0), 1e-9)
    theirs, own = (theirs - middle) / spread, (own - middle) / spread
    least = min(clusters, len(np.unique(theirs.round(6), axis=0)))
    fitted = KMeans(least, n_init=4, random_state=0).fit(theirs)
    named = [fitted.predict(some) if len(some) else np.zeros(0, int) for some in (own, theirs)]
    return named[0].astype(str).astype(object), named[1].astype(str).astype(object)


def pooled_embedding(project: Reviewing, sam: Segmenter, masks: Proposals) -> NDArray[np.float64]:
    """Return the mean of the model's image embedding over each mask, (N, C). Raises ImageError, ChangedError."""
    from workbench.sam.pooling import pooled

    found: NDArray[np.float64] | None = None
    for image, rows in masks.by_image():
        values, _ = pooled(sam, project.image(image), masks.rles[rows].tolist())
        found = np.zeros((len(masks), values.shape[1])) if found is None else found
        found[rows] = np.nan_to_num(values)
    return np.zeros((0, 0)) if found is None else found
