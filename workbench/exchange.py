"""Masks into a project and out of it: ground truth from files, masks to files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

import workbench
from workbench import outputs, proposing, recording
from workbench.config import TriageConfig
from workbench.images import ImageError
from workbench.masks import rle
from workbench.report import TruthSummary
from workbench.shown import Shown
from workbench.store import intake, runs, truth
from workbench.store.errors import StoreError
from workbench.store.runs import Run
from workbench.store.schema import images
from workbench.store.truth import Recorded, TrueMasks
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals, mask_id

if TYPE_CHECKING:
    from workbench.folder import ProjectFolder
    from workbench.formats.entry import ImageEntry
    from workbench.loop.stage3 import Annotation

OUTCOMES = ("all", "distinct", "auto_accepted", "flagged", "discarded", "final")


def expect_outcome(outcome: str) -> None:
    """Refuse what is no outcome of `OUTCOMES`. Raises ValueError."""
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {outcome!r}")


def of_outcome(triaged: Triage, outcome: str) -> np.ndarray:
    """Return which rows have an outcome, (N,) bool; final are the auto-accepted ones, as far as nobody has reviewed.

    Raises
    ------
    ValueError : for another name
    """
    expect_outcome(outcome)
    if outcome == "all":
        return np.ones(len(triaged), bool)
    if outcome == "distinct":
        return triaged.distinct
    chosen: np.ndarray = triaged.outcome == Outcome["auto_accepted" if outcome == "final" else outcome]
    return chosen


def import_truth(
    project: ProjectFolder,
    masks: Proposals,
    labels: Sequence[str] | np.ndarray | None = None,
    crowd: Sequence[bool] | np.ndarray | None = None,
    names: Sequence[str] = (),
    origin: str = "",
    problems: Sequence[str] = (),
    incomplete: Collection[str] = (),
) -> TruthSummary:
    """Keep masks as the ground truth of their images, in place of what these had; see `Project.import_truth`.

    `incomplete` are names of images of which masks were refused before: how many of them have truth now is told.
    """
    found = truth.Names(project.catalog, project.path)
    by_id, rows_of = found.by_id(), dict(masks.by_image())
    unmatched: list[str] = []
    gaps: list[str] = []
    elsewhere: list[str] = []
    told = list(problems)
    columns = TrueMasks(masks, _labels(labels, len(masks)), _flags(crowd, len(masks)))

    def matched() -> Iterator[tuple[int, TrueMasks]]:
        meant = {name: by_id.get(name) or found.find(name) for name in dict.fromkeys((*names, *rows_of))}
        taken, seen = found.taken(meant), set[int]()
        for name, image in meant.items():
            if image is None:
                unmatched.append(name)
                continue
            rows = rows_of.get(name, np.zeros(0, np.int64))
            problem = _taken_by(taken.get(image.key), name)
            if not problem and len(rows):
                problem = _misfit(project, image, masks.select(rows))
            if problem:
                told.append(f"{name}: {problem}")
                continue
            if not found.lies_there(image, name):
                elsewhere.append(f"{name} for {image.path}")
            seen.add(image.key)
            gaps.extend([name] if name in incomplete else [])
            yield image.key, _of_image(columns, rows, image.image_id)
        counted.append(len(seen))

    counted: list[int] = []
    total, replaced = truth.store(project.catalog, project.path, matched(), origin)
    return TruthSummary(counted[0], total, replaced, tuple(unmatched), (*_gaps(gaps), *_elsewhere(elsewhere), *told))


def expect_masks(masks: Proposals) -> None:
    """Refuse run lengths that are none of their image's size, and empty masks. Raises ValueError, naming row and image."""
    for row, (counts, size) in enumerate(zip(masks.rles.tolist(), masks.sizes_hw.tolist(), strict=True)):
        try:
            empty = not rle.area([counts], tuple(size))[0]
        except ValueError as error:
            raise ValueError(
                f"masks: expected run lengths of {size[0]}×{size[1]} px in row {row}, of {masks.image_id[row]}, got {error}"
            ) from None
        if empty:
            raise ValueError(
                f"masks: expected at least a pixel in row {row}, of {masks.image_id[row]}, got an empty mask"
            )


def _gaps(names: Sequence[str]) -> list[str]:
    """Return a line on images that have truth without all its masks, first so that no long list hides it."""
    if not names:
        return []
    which = f"{names[0]} has" if len(names) == 1 else f"{len(names)} images (first {names[0]}) have"
    return [
        f"{which} truth with gaps, since some masks were refused: figures of wrong masks count what is missing there as "
        "wrong; mend the file and import it again, or leave such images out of what is measured"
    ]


def _elsewhere(pairs: Sequence[str]) -> list[str]:
    """Return a line on names that say another folder than the images lie in, which only their last parts tell."""
    if not pairs:
        return []
    which = f"{pairs[0]} was" if len(pairs) == 1 else f"{len(pairs)} names (first {pairs[0]}) were"
    return [
        f"{which} taken by the last part, in another folder than the project's images: see that these are the images meant"
    ]


def _taken_by(taken: str | None, name: str) -> str:
    """Return why a name is not believed of its image, "" where it is; `taken` is, None for no name."""
    if taken == name:
        return ""
    other = f"{taken} means too" if taken else "other names mean too, none of which lies in its folder: none is taken"
    return f"it means an image that {other}"


def _misfit(project: ProjectFolder, image: Recorded, masks: Proposals) -> str:
    """Return why masks do not fit an image, "" when they do."""
    size = image.size_hw
    if size is None:
        file = runs.image_files(project.catalog, None, [image.image_id])[0]
        try:
            pixels, _ = proposing.read(project.path, file)
        except (ImageError, proposing.ChangedError) as error:
            return str(error)
        size = (int(pixels.shape[0]), int(pixels.shape[1]))
        truth.set_size(project.catalog, image.key, size)
    wrong = (masks.sizes_hw != size).any(axis=1)
    if wrong.any():
        h, w = masks.sizes_hw[wrong][0]
        return f"its masks have {h}×{w} px (h×w), the image has {size[0]}×{size[1]} px as it is seen (upright)"
    return ""


def _of_image(true: TrueMasks, rows: np.ndarray, image_id: str) -> TrueMasks:
    masks = true.masks.select(rows)
    ids = [mask_id(image_id, r, (int(h), int(w))) for r, (h, w) in zip(masks.rles, masks.sizes_hw, strict=True)]
    own = masks.replace(image_id=image_id, mask_id=ids, row=np.arange(len(masks)), source="manual")
    return TrueMasks(own, true.labels[rows], true.crowd[rows])


def _labels(labels: Sequence[str] | np.ndarray | None, n: int) -> np.ndarray:
    given = np.array([str(label) for label in ([""] * n if labels is None else labels)], dtype=object)
    if len(given) != n:
        raise ValueError(f"labels: expected one for each of the {n} masks, got {len(given)}")
    return given


def _flags(crowd: Sequence[bool] | np.ndarray | None, n: int) -> np.ndarray:
    given = np.zeros(n, bool) if crowd is None else np.asarray(crowd, dtype=bool)
    if given.shape != (n,):
        raise ValueError(f"crowd: expected one for each of the {n} masks, got shape {given.shape}")
    return given


def import_coco(project: ProjectFolder, path: str | Path) -> TruthSummary:
    """Keep the masks of a COCO file as ground truth; see `Project.import_coco`."""
    from workbench.formats import coco

    file = coco.read(path)
    some = set(file.masks.image_id.tolist())
    names = [e.file_name for e in file.images if e.file_name in some or e.file_name not in file.incomplete]
    unknown = [e.file_name for e in file.images if e.file_name in file.incomplete and e.file_name not in some]
    told = [
        f"{name}: all its masks were refused, so it has no truth: that is not the same as no object" for name in unknown
    ]
    if file.refused and not some:  # nothing that it says of objects could be read: no image of it is known to be empty
        names = []
        told = [
            f"all {file.refused:,} masks of the file were refused, so none of its {len(file.images):,} images gets truth: "
            "that is not the same as no object"
        ]
    first = _repeated(file.masks)
    if file.nowhere:
        first.insert(
            0,
            f"{file.nowhere:,} annotations name no image of the file: which images they are missing from is not known, and figures "
            "of wrong masks count that as wrong; mend the file and import it again",
        )
    found, origin, problems = (
        (file.labels, file.crowd),
        Path(path).name,
        [*first, *file.problems, *told],
    )
    return import_truth(project, file.masks, *found, names, origin, problems, file.incomplete)


def _repeated(masks: Proposals) -> list[str]:
    """Return a line on masks that an image has more than once, which would count as many objects."""
    _, first, times = np.unique(masks.mask_id.astype(str), return_index=True, return_counts=True)
    if (times == 1).all():
        return []
    again, name = int((times - 1).sum()), masks.image_id[first[times > 1].min()]
    return [
        f"{again:,} masks are there already, to the pixel, on the same image (first on {name}): each counts as an object of its own; "
        "take out what is there twice and import the file again"
    ]


def nothing_imported(project: ProjectFolder, summary: TruthSummary) -> str:
    """Return why an import gave no image truth, what was expected and what to do; "" when one has truth now."""
    if summary.images:
        return ""
    expected = "import: expected masks or images that can be used, nothing was imported"
    if not summary.unmatched:
        first = (
            f"; all were refused, the first: {summary.problems[0]}" if summary.problems else "; the file has no images"
        )
        return expected + first
    name = summary.unmatched[0]
    known = [file.path for file in runs.image_files(project.catalog, None) if file.image_id]
    last = name.rpartition("/")[2]
    alike = [path for path in known if path.rpartition("/")[2] == last]
    if len(alike) > 1:
        why = (
            f"{len(alike)} images end in {last!r} ({', '.join(alike[:3])}); write the folders that tell them apart into "
            "file_name"
        )
    else:
        shown = f"; the project has {', '.join(known[:3])}" if known else "; the project has no image"
        why = f"no image of the project is called so{shown}: file_name is compared with these paths"
    return f"{expected}: {len(summary.unmatched):,} names lead to no image, the first {name!r}: {why}"


def replaced_truth(summary: TruthSummary) -> str:
    """Return a line on the truth that an import took the place of, "" where its images had no masks."""
    if not summary.replaced:
        return ""
    return f"an import replaces the truth of its images: {summary.replaced:,} masks that they had are gone"


def originals(project: ProjectFolder) -> frozenset[str]:
    """Return the real paths of files that nothing is written over: images of the project, the file of its catalogue."""
    database = project.catalog.engine.url.database if project.catalog.is_sqlite else None
    own = [os.path.abspath(f"{database}{end}") for end in ("", "-wal", "-shm")] if database else []  # noqa: PTH100
    folders: dict[str, str] = {}
    found: set[str] = set()
    for path in [*own, *intake.known_files(project.catalog, project.path)]:
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = f"{folders[folder].rstrip('/')}/{name}"
        found.add(os.path.realpath(real) if os.path.islink(real) else real)  # noqa: PTH114 - of very many files
    return frozenset(found)


def sorted_out(project: ProjectFolder, config: TriageConfig) -> Triage:
    """Return the triage of all proposals of the latest run, many images at once."""
    from workbench.triage.together import columns_for, triage_together

    outcome, reasons = [np.zeros(0, np.uint8)], [np.zeros(0, np.uint32)]
    for block in project.in_blocks(columns_for(config), config=config):
        part = triage_together(block.proposals, config)
        outcome.append(part.outcome)
        reasons.append(part.reasons)
    return Triage(np.concatenate(outcome), np.concatenate(reasons), config)


def export_coco(shown: Shown, path: str | Path, outcome: str, config: TriageConfig) -> int:
    """Write the latest run's masks of an outcome as a COCO file; see `Project.export_coco`."""
    from workbench.formats import coco

    project = shown.project
    kept_files = originals(project)
    expect_outcome(outcome)
    outputs.expect_target(Path(path), kept_files)
    run = runs.expect(runs.find(project.catalog), "export")
    if outcome == "final":
        return _export_final(shown, path, run, kept_files)
    parts, outcomes = [], []
    for _, rows in project.each(config=config):
        triaged = workbench.triage(rows, config)
        kept = of_outcome(triaged, outcome)
        parts.append(rows.select(kept))
        outcomes.append((triaged.outcome[kept], triaged.reasons[kept]))
    masks = Proposals.concat(parts)
    codes, reasons = (np.concatenate([o[k] for o in outcomes]) if outcomes else np.zeros(0, int) for k in (0, 1))
    about = {"runs": [_made_by(run)], "triage": config.to_dict()}
    coco.write(
        path, masks, _entries(project, run.id), Triage(codes, reasons, config), about=about, originals=kept_files
    )
    return len(masks)


def final_masks(shown: Shown, image_ids: Sequence[str] | None, run_id: int | None) -> Proposals:
    """Return the masks to hand on: of reviewed images what people left, of the others what was accepted by itself."""
    found = recording.everything(shown, image_ids, run_id)
    return Proposals.concat([review.masks.select(review.final) for review in found])


def _export_final(shown: Shown, path: str | Path, run: Run, kept_files: Collection[str]) -> int:
    """Write the final masks of all images but the skipped ones, their labels as categories."""
    from workbench.formats import coco

    project = shown.project
    parts, decided, made_by = [], list[dict[str, str]](), {run.id}
    columns: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.uint8), np.zeros(0, np.uint32), np.zeros(0, object))]
    for review in recording.everything(shown):
        kept = review.final
        parts.append(review.masks.select(kept))
        decided += [{"by": str(by)} if by else {} for by in review.by[kept]]
        made_by |= set() if review.run_id is None else {review.run_id}
        columns.append((review.outcome[kept], review.reasons[kept], review.label[kept]))
    masks = Proposals.concat(parts)
    outcomes, reasons, labels = (np.concatenate([c[k] for c in columns]) for k in range(3))
    entries, triaged = _entries(project, run.id, set(masks.image_id.tolist())), Triage(outcomes, reasons)
    found = [runs.find(project.catalog, number) for number in sorted(made_by)]
    about = {"runs": [_made_by(one) for one in found if one is not None]}
    coco.write(path, masks, entries, triaged, labels=labels, decided=decided, about=about, originals=kept_files)
    return len(masks)


def _made_by(run: Run) -> dict[str, object]:
    """Return which run its masks are of, for the info of a file."""
    return {"run_id": run.id, "model_id": run.model_id, "propose": dict(run.settings)}


def export_annotation(project: ProjectFolder, path: str | Path, annotation: Annotation, left: Proposals) -> None:
    """Write the masks of a fully automatic annotation as COCO, with an entry for each of its images, but for those its sample shows to be wrong.

    left : final masks of the images that people have left since, in place of the automatic ones
    """
    from workbench.formats import coco

    chosen, run = set(annotation.images), runs.find(project.catalog, annotation.run_id)
    if run is None:
        raise StoreError(
            f"export_annotation: expected the project that was annotated, this one has no run {annotation.run_id}"
        )
    entries = [entry for entry in _entries(project, run.id, chosen) if entry.image_id in chosen]
    about = {
        "runs": [_made_by(run)],
        "rule": annotation.rule,
        "gate": annotation.gate_id,
        "override": annotation.override,
    }
    coco.write(path, Proposals.concat([annotation.kept, left]), entries, about=about, originals=originals(project))


def _entries(project: ProjectFolder, run_id: int, more: Collection[str] = ()) -> list[ImageEntry]:
    """Return an entry for each image done, or in `more`: its path, led by folders of its root where paths repeat."""
    from workbench.formats.entry import ImageEntry

    done = [f for f in runs.image_files(project.catalog, run_id) if f.status == "done" or f.image_id in more]
    with project.catalog.read() as connection:
        rows = connection.execute(sa.select(images.c.key, images.c.height, images.c.width))
        sizes = {key: (h, w) for key, h, w in rows}
    names = _distinct_names([(Path(os.path.abspath(project.path / file.root)), file.path) for file in done])  # noqa: PTH100
    return [ImageEntry(n, sizes[file.key], str(file.image_id)) for n, file in zip(names, done, strict=True)]


def _distinct_names(files: Sequence[tuple[Path, str]]) -> list[str]:
    """Return the path of each file, led by as many folders of its root as it takes to tell all apart."""
    parts = [(root.parts[1:], path) for root, path in files]
    deepest = max((len(folders) for folders, _ in parts), default=0)
    for depth in range(deepest + 1):
        names = ["/".join((*folders[len(folders) - depth :], path)) for folders, path in parts]
        if len(set(names)) == len(names):
            return names
    return names
