"""COCO instance files, read from anyone; ours are written by `formats.coco_writing`.

What comes from outside is checked entry by entry: a bad one is refused with its reason, the rest goes on. Only a file
that is no COCO object at all raises.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.formats.coco_writing import write
from workbench.formats.entry import FormatError, ImageEntry, check_file_name, has_controls, short
from workbench.masks import polygons, rle
from workbench.tables.proposals import Proposals

MAX_BYTES = 2**31  # some five times the instances of COCO's own training set
Id = int | str

__all__ = ["CocoFile", "FormatError", "ImageEntry", "read", "write"]


@dataclasses.dataclass(frozen=True, eq=False)
class CocoFile:
    """What a COCO file holds, and what was refused in it.

    images : those with at least a usable name and size, in the order of the file
    categories : name of each category id
    masks : all masks, source "manual", `image_id` the file name of their image, in the order of the file
    labels : (N,) str beside the masks, "" for none
    crowd : (N,) bool beside the masks: a region of many things that are not told apart
    problems : one line for each entry that was refused, with the reason
    incomplete : file names of images of which masks were refused; refused : annotations, those of no image too; nowhere : those
        of these that name no image of the file, so that nobody knows whose masks they are
    """

    images: tuple[ImageEntry, ...]
    categories: Mapping[int, str]
    masks: Proposals
    labels: NDArray[np.object_]
    crowd: NDArray[np.bool_]
    problems: list[str]
    incomplete: frozenset[str] = frozenset()
    refused: int = 0
    nowhere: int = 0

    @functools.cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        return dict(self.masks.by_image())

    def rows_of(self, entry: ImageEntry) -> NDArray[np.int64]:
        """Return the rows of masks, labels and crowd that belong to an image, (K,)."""
        return self._rows.get(entry.image_id, np.zeros(0, np.int64))

    def of_image(self, entry: ImageEntry, image_id: str) -> Proposals:
        """Return the masks of one image under another image id, e.g. that of its content, with new mask ids."""
        return self.masks.select(self.rows_of(entry)).replace(image_id=image_id)


def read(path: str | Path, *, max_bytes: int = MAX_BYTES) -> CocoFile:
    """Read the images and masks of a COCO instance file.

    Compressed and plain run lengths and polygons are read; polygons become the pixels that pycocotools gives them.
    Refused, with a line in `problems`: annotations without a mask, of an unknown image, with a used id, of another size
    than their image, without a pixel in it, with an `iscrowd` other than 0 or 1, or damaged; images without a size, with
    a used id or name, or whose name leaves their folder.

    Parameters
    ----------
    max_bytes : a larger file is not opened

    Raises
    ------
    FormatError : if the file is larger, is not JSON, or is not an object with a list of images
    OSError : if the file cannot be read

    Source: https://cocodataset.org/#format-data
    """
    document = _document(Path(path), max_bytes)
    problems: list[str] = []
    images: dict[Id, ImageEntry] = {}
    names: set[str] = set()
    for entry in _named(_list(document, "images", path), "image", problems):
        with _Refusal(problems, "image", entry):
            number, image = _new_id(entry, images), _image(entry, names)
            images[number] = image
            names.add(image.file_name)
    categories: dict[int, str] = {}
    for entry in _named(_list(document, "categories", path), "category", problems):
        with _Refusal(problems, "category", entry):
            categories[_new_id(entry, categories)] = _category_name(entry)
    if "annotations" not in document:
        raise FormatError(
            f"{path}: expected a list of annotations, got a file of images alone; an empty list says that they hold nothing"
        )
    ids = {
        entry["id"]
        for entry in document["images"]
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str)
    }
    return _masks_read(_list(document, "annotations", path), images, ids, categories, problems)


class _Refusal:
    """Turns what goes wrong with one entry into a line of `problems`."""

    def __init__(self, problems: list[str], kind: str, entry: Mapping[str, Any]) -> None:
        self.problems, self.where = problems, f"{kind} {short(entry.get('id', '(no id)'))}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        # numpy answers foreign values with any of the three
        if isinstance(error, (ValueError, TypeError, OverflowError)):
            text = str(error)
            self.problems.append(f"{self.where}: {text if len(text) <= 240 else text[:237] + '...'}")
            return True
        return False


def _document(path: Path, max_bytes: int) -> dict[str, Any]:
    with path.open("rb") as file:  # a pipe or a device says 0 bytes of itself
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FormatError(f"{path}: expected at most {max_bytes} bytes, got more; split it, or raise max_bytes")
    try:
        document = json.loads(data)
    except RecursionError:
        raise FormatError(f"{path}: expected COCO JSON, got lists within lists without end") from None
    except ValueError as error:  # of JSON, of Unicode, of numbers with thousands of digits
        raise FormatError(f"{path}: expected COCO JSON, got text that does not parse: {error}") from None
    if not isinstance(document, dict):
        raise FormatError(f"{path}: expected a COCO object with a list of images, got a {type(document).__name__}")
    if "images" not in document:
        raise FormatError(f"{path}: expected a COCO object with a list of images; it has {short(sorted(document))}")
    return document


def _list(document: Mapping[str, Any], name: str, path: str | Path) -> list[Any]:
    entries = document.get(name, [])
    if not isinstance(entries, list):
        raise FormatError(f"{path}: expected a list of {name}, got {short(entries)}")
    return entries


def _named(entries: Iterable[Any], kind: str, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the entries that are objects."""
    for place, entry in enumerate(entries):
        if isinstance(entry, dict):
            yield entry
        else:
            problems.append(f"{kind} at place {place}: expected an object, got {short(entry)}")


def _new_id(entry: Mapping[str, Any], used: Iterable[Any]) -> Any:
    number = _id(entry.get("id"), "id")
    if number in used:
        raise ValueError("this id is used before; the first entry is kept")
    return number


def _id(value: Any, name: str) -> Id:
    if isinstance(value, str):
        return value
    return _whole(value, name)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (np.inf, -np.inf):
        raise ValueError(f"{name}: expected a whole number, got {short(value)}")
    if value != int(value):
        raise ValueError(f"{name}: expected a whole number, got {value}")
    return int(value)


def _image(entry: Mapping[str, Any], names: set[str]) -> ImageEntry:
    name = entry.get("file_name")
    check_file_name(name)
    if name in names:
        raise ValueError(f"file_name: {short(name)} is used before; the first entry is kept")
    h, w = _whole(entry.get("height"), "height"), _whole(entry.get("width"), "width")
    if h < 1 or w < 1 or h * w > rle.MAX_PIXELS:
        raise ValueError(f"size: expected at least 1×1 px and at most {rle.MAX_PIXELS} px in all, got {h}×{w} (h×w)")
    return ImageEntry(str(name), (h, w))


def _category_name(entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name: expected text, got {short(name)}")
    if len(name) > 200 or has_controls(name):
        raise ValueError(
            f"name: expected at most 200 characters, none a control character or surrogate, got {short(name)}"
        )
    _whole(entry.get("id"), "id")
    return name


def _masks_read(
    entries: list[Any],
    images: Mapping[Id, ImageEntry],
    ids: Collection[Id],
    categories: Mapping[int, str],
    problems: list[str],
) -> CocoFile:
    """Read the masks; `ids` are those of all images of the file, refused ones too."""
    found: list[tuple[ImageEntry, bytes, str, bool]] = []
    used: set[Id] = set()
    incomplete: set[str] = set()
    nowhere = 0
    for entry in _named(entries, "annotation", problems):
        told = len(problems)
        image: ImageEntry | None = None
        with _Refusal(problems, "annotation", entry):
            image = _image_of(entry, images)
            if "id" in entry:
                used.add(_new_id(entry, used))
            counts, crowded = _mask(entry, image.size_hw), _crowd(entry)
            found.append((image, counts, _label(entry, categories, problems), crowded))
            continue
        if image is not None and len(problems) > told:
            incomplete.add(image.file_name)
        named = entry.get("image_id")
        nowhere += not (isinstance(named, int | str) and named in ids)
    labels = np.array([label for *_, label, _ in found], dtype=object)
    crowd = np.array([crowd for *_, crowd in found], dtype=bool)
    masks = _table([image for image, *_ in found], [counts for _, counts, *_ in found])
    told_of, refused = frozenset(incomplete), len(entries) - len(found)
    return CocoFile(tuple(images.values()), categories, masks, labels, crowd, problems, told_of, refused, nowhere)


def _image_of(entry: Mapping[str, Any], images: Mapping[Id, ImageEntry]) -> ImageEntry:
    image = images.get(_id(entry.get("image_id"), "image_id"))
    if image is None:
        raise ValueError(f"image_id: no usable image has the id {short(entry.get('image_id'))}")
    return image


def _mask(entry: Mapping[str, Any], size_hw: tuple[int, int]) -> bytes:
    given = entry.get("segmentation")
    if given is None or given in ([], {}):
        raise ValueError("segmentation: expected run lengths or polygons, got none; a box alone is no mask")
    if isinstance(given, list):
        counts, size = polygons.from_coco_polygons(given, size_hw), size_hw
    else:
        counts, size = rle.from_coco(given)
    if size != size_hw:
        raise ValueError(f"segmentation: expected the image's size {size_hw} (h, w), got {size}")
    if not rle.area([counts], size)[0]:
        h, w = size
        raise ValueError(
            f"segmentation: expected a mask of 1 px or more in the image of {h}×{w} px (h×w), it covers none"
        )
    return counts


def _crowd(entry: Mapping[str, Any]) -> bool:
    """Return whether a region of many things is meant; 0 and 1 may be text, since a file may quote its numbers."""
    given = entry.get("iscrowd")
    if given not in (None, 0, 1, "0", "1"):
        raise ValueError(f"iscrowd: expected 0 or 1, got {short(given)}")
    return given in (1, "1")


def _label(entry: Mapping[str, Any], categories: Mapping[int, str], problems: list[str]) -> str:
    number = entry.get("category_id")
    if number is None:
        return ""
    try:
        return categories[_whole(number, "category_id")]
    except (KeyError, ValueError):
        where = short(entry.get("id", "(no id)"))
        problems.append(
            f"annotation {where}: category_id {short(number)} names no category that could be used; kept without a label"
        )
        return ""


def _table(images: Sequence[ImageEntry], rles: Sequence[bytes]) -> Proposals:
    """Put masks into a table, with boxes and areas measured, rows counted within each image."""
    boxes, areas = np.zeros((len(rles), 4), np.int32), np.zeros(len(rles), np.int64)
    rows = np.zeros(len(rles), np.int32)
    members: dict[ImageEntry, list[int]] = {}
    for place, image in enumerate(images):
        members.setdefault(image, []).append(place)
    for image, places in members.items():
        of_image = [rles[place] for place in places]
        boxes[places], areas[places] = rle.to_boxes(of_image, image.size_hw), rle.area(of_image, image.size_hw)
        rows[places] = np.arange(len(places))
    sizes = np.array([image.size_hw for image in images], np.int32).reshape(-1, 2)
    ids = [image.image_id for image in images]
    return Proposals.make(
        rles=rles, image_id=ids, row=rows, boxes_xyxy=boxes, area_px=areas, sizes_hw=sizes, source="manual"
    )
