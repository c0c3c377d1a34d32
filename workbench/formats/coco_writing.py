"""COCO instance files written with the provenance of their masks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import outputs
from workbench.formats.entry import ImageEntry
from workbench.masks import rle
from workbench.masks.boxes import to_xywh
from workbench.tables.outcomes import Outcome, Triage
from workbench.tables.proposals import Proposals

UNLABELLED = "object"  # the category of masks without a label: COCO wants one for each


def write(
    path: str | Path,
    proposals: Proposals,
    images: Sequence[ImageEntry],
    triage: Triage | None = None,
    *,
    labels: Sequence[str] | NDArray[np.object_] | None = None,
    categories: Mapping[int, str] | None = None,
    decided: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
    originals: Collection[str] = (),
) -> None:
    """Write masks as a COCO instance file that pycocotools loads; the same input gives the same bytes.

    The file appears whole or not at all. Each annotation has compressed run lengths, bbox, area and, where it was
    predicted, its IoU as `score`; where it came from is under its key "workbench": model_id, mask_id, source, parent_id,
    stability scores and, with `triage`, the outcome of automatic masks.

    Parameters
    ----------
    proposals : masks to write, all of them; select before
    images : an entry for each image, those without masks included; `image_id` ties masks to them
    triage : outcomes, row by row beside the proposals
    labels : (N,) str beside the proposals, "" for none
    categories : names of category ids; labels that it lacks are added. Without it, ids count from 1 by name
    decided : beside the proposals, what people decided of each, to stand under "workbench" too; none for nothing
    about : settings by which the masks came about, to stand under "workbench" of the file's info
    originals : real paths of files that are not written over, see `outputs.expect_target`

    Raises
    ------
    ValueError : if an image of the proposals is not among `images` or has another size, an image is given twice, or a
        column has another length; OutputError where no file must be written
    OSError : if the file cannot be written
    """
    n = len(proposals)
    for name, column in (("triage", triage), ("labels", labels), ("decided", decided or None)):
        if column is not None and len(column) != n:
            raise ValueError(f"{name}: expected one for each of the {n} proposals, got {len(column)}")
    number = _numbered(images, proposals)
    names = [str(label) or UNLABELLED for label in labels] if labels is not None else [UNLABELLED] * n
    category = _category_ids(names, categories or {})
    all_categories = {**{number: name for name, number in category.items()}, **(categories or {})}
    parts = {
        "images": (
            {"id": k, "file_name": image.file_name, "height": int(image.size_hw[0]), "width": int(image.size_hw[1])}
            for k, image in enumerate(images, start=1)
        ),
        "annotations": _annotation_records(proposals, number, [category[name] for name in names], triage, decided),
        "categories": ({"id": k, "name": name} for k, name in sorted(all_categories.items())),
    }
    outputs.write_whole(Path(path), (line.encode("ascii") for line in _json_lines(parts, about or {})), originals)


def _numbered(images: Sequence[ImageEntry], proposals: Proposals) -> list[int]:
    """Return for each proposal the place of its image, counted from 1."""
    place: dict[str, int] = {}
    names: set[str] = set()
    for number, image in enumerate(images, start=1):
        if image.image_id in place or image.file_name in names:
            raise ValueError(f"images: expected each once, got {image.file_name!r} ({image.image_id!r}) again")
        place[image.image_id] = number
        names.add(image.file_name)
    for image_id, rows in proposals.by_image():
        if image_id not in place:
            raise ValueError(f"images: {len(rows)} proposals are of image {image_id!r}, which has no entry")
        size = images[place[image_id] - 1].size_hw
        if (proposals.sizes_hw[rows] != size).any():
            got = np.unique(proposals.sizes_hw[rows], axis=0).tolist()
            raise ValueError(f"images: {image_id!r} has the size {size} (h, w), its proposals have {got}")
    return [place[image_id] for image_id in proposals.image_id]


def _category_ids(names: Sequence[str], categories: Mapping[int, str]) -> dict[str, int]:
    """Return an id for each name: the first it has in `categories`, or the next number."""
    ids: dict[str, int] = {}
    for number, name in categories.items():
        ids.setdefault(name, int(number))
    wanted = sorted(set(names) or ({UNLABELLED} if not categories else set()))
    free = max(categories, default=0) + 1
    for number, name in enumerate((name for name in wanted if name not in ids), start=free):
        ids[name] = number
    return ids


def _annotation_records(
    p: Proposals,
    image_numbers: Sequence[int],
    category_ids: Sequence[int],
    triage: Triage | None,
    decided: Sequence[Mapping[str, Any]],
) -> Iterator[dict[str, Any]]:
    for k in range(len(p)):
        size = int(p.sizes_hw[k, 0]), int(p.sizes_hw[k, 1])
        record: dict[str, Any] = {
            "id": k + 1,
            "image_id": image_numbers[k],
            "category_id": category_ids[k],
            "segmentation": {"size": list(size), "counts": p.rles[k].decode("ascii")},
            "bbox": to_xywh(rle.to_boxes([p.rles[k]], size))[0].tolist(),
            "area": int(rle.area([p.rles[k]], size)[0]),
            "iscrowd": 0,
        }
        if np.isfinite(p.predicted_iou[k]):
            record["score"] = float(p.predicted_iou[k])
        record["workbench"] = {
            name: str(getattr(p, name)[k]) for name in ("model_id", "mask_id", "source", "parent_id")
        }
        for name in ("stability_score", "jitter_stability"):
            if np.isfinite(value := float(getattr(p, name)[k])):
                record["workbench"][name] = value
        if triage is not None and p.source[k] == "automatic":  # nothing was decided about what people drew
            record["workbench"]["outcome"] = Outcome(triage.outcome[k]).name
        record["workbench"] |= decided[k] if decided else {}
        yield record


def _json_lines(parts: Mapping[str, Iterable[dict[str, Any]]], about: Mapping[str, Any]) -> Iterator[str]:
    """Yield one JSON object of lists, an entry a line, without holding it whole."""
    info = {"description": "masks written by workbench", **({"workbench": about} if about else {})}
    yield f'{{"info":{json.dumps(info, separators=(",", ":"), allow_nan=False)}'
    for name, records in parts.items():
        yield f',\n"{name}":['
        for number, record in enumerate(records):
            yield (",\n" if number else "\n") + json.dumps(record, separators=(",", ":"), allow_nan=False)
        yield "]"
    yield "}\n"
