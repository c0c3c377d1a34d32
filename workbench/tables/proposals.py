"""The proposals table: one row a mask, checked when made, in numpy columns that flow through every stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.masks import rle

if TYPE_CHECKING:
    import pandas as pd

TEXT = np.dtype(object)
SOURCES = ("automatic", "manual", "edited")


ASKED_AGAIN = "point and box"  # the prompt of a second look


class Column(NamedTuple):
    """How a column is stored: dtype, length of its second axis (0 for none), value where none was given, meaning."""

    dtype: np.dtype[Any]
    width: int
    default: object
    names: tuple[str, ...]  # its columns in a DataFrame and in Parquet
    doc: str


def _column(dtype: object, default: object, doc: str, names: tuple[str, ...] = ()) -> Column:
    return Column(np.dtype(dtype), len(names), default, names, doc)  # type: ignore[call-overload]


COLUMNS: dict[str, Column] = {
    "row": _column("int32", 0, "number of the row within its run and image; ties of NMS are broken by it"),
    "image_id": _column(object, "", "content id of the image"),
    "mask_id": _column(object, "", "hash of image and mask; verdicts attach to it"),
    "boxes_xyxy": _column("int32", 0, "half-open box, px", ("box_x0", "box_y0", "box_x1", "box_y1")),
    "predicted_iou": _column(
        "float32", np.nan, "the model's own estimate of IoU, of two looks (`refine`) the mean; may exceed 1"
    ),
    "stability_score": _column("float32", np.nan, "IoU of the mask cut at ± offset logits"),
    "jitter_stability": _column("float32", np.nan, "1 − std(area) / area over moved prompts; NaN: not measured"),
    "jitter_iou": _column("float32", np.nan, "mean IoU with the masks of moved prompts; NaN: not measured"),
    "hypothesis_spread": _column("float32", np.nan, "1 − mean IoU with the other hypotheses of the same prompt"),
    "solidity": _column("float32", np.nan, "area over area of the convex hull"),
    "roughness": _column("float32", np.nan, "raggedness of the outline, near 0 when smooth"),
    "contrast": _column("float32", np.nan, "difference of brightness across the outline, in standard deviations"),
    "confidence": _column("float64", np.nan, "p(right) by the model that triage asks for; filled in when read"),
    "area_px": _column("int64", 0, "pixels of the mask"),
    "points_xy": _column("float64", np.nan, "the point prompt, px of the image", ("point_x", "point_y")),
    "mask_index": _column("int8", -1, "which hypothesis of the prompt; -1 where there is none"),
    "crop_boxes_xyxy": _column("int32", 0, "crop it was proposed in", ("crop_x0", "crop_y0", "crop_x1", "crop_y1")),
    "sizes_hw": _column("int32", 0, "height and width of the image, px", ("height", "width")),
    "model_id": _column(object, "", "name and hash of the model"),
    "parent_id": _column(object, "", "mask_id this one was made from"),
    "prompt": _column(object, "", f"kind of prompt: point, {ASKED_AGAIN} (`refine`), box, polygon, brush, ..."),
    "source": _column(object, "automatic", "automatic, manual or edited"),
    "rles": _column(object, b"", "COCO run lengths, compressed, column-major"),
}


SCORES = (  # how good a mask may be; recalibrations and pools keep this order
    "predicted_iou",
    "stability_score",
    "jitter_stability",
    "jitter_iou",
    "hypothesis_spread",
    "solidity",
    "roughness",
    "contrast",
)
NOT_STORED = ("confidence",)  # it follows from the other columns and a record
_NAMED_BY = ("image_id", "rles", "sizes_hw")  # what a mask_id is the hash of


def digest_of_masks(keys: Iterable[tuple[str, str]]) -> str:
    """Return 16 hex digits of which masks these are, by image and mask id, in whatever order."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:16]


def mask_id(image_id: str, counts: bytes, size_hw: tuple[int, int]) -> str:
    """Return 32 hex digits that name a mask of an image: equal exactly when image, size and pixels are."""
    text = b"%s|%d|%d|%s" % (image_id.encode(), size_hw[0], size_hw[1], counts)
    return hashlib.sha256(text).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Proposals:
    """Masks with their scores, prompts and provenance; N rows, N = 0 included.

    Every column is a numpy array of N rows, see `COLUMNS` for dtype, unit and meaning. Make one with `make`,
    `from_frame` or a stage; `select` and `concat` return new ones.
    """

    row: np.ndarray
    image_id: np.ndarray
    mask_id: np.ndarray
    boxes_xyxy: np.ndarray
    predicted_iou: np.ndarray
    stability_score: np.ndarray
    jitter_stability: np.ndarray
    jitter_iou: np.ndarray
    hypothesis_spread: np.ndarray
    solidity: np.ndarray
    roughness: np.ndarray
    contrast: np.ndarray
    confidence: np.ndarray
    area_px: np.ndarray
    points_xy: np.ndarray
    mask_index: np.ndarray
    crop_boxes_xyxy: np.ndarray
    sizes_hw: np.ndarray
    model_id: np.ndarray
    parent_id: np.ndarray
    prompt: np.ndarray
    source: np.ndarray
    rles: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.rles)
        for name, column in COLUMNS.items():
            object.__setattr__(self, name, _checked(name, column, getattr(self, name), n))

    @classmethod
    def make(cls, **given: Any) -> Proposals:
        """Build a table from some columns; scalars are repeated, what is missing gets its default.

        Parameters
        ----------
        **given : columns by name; `rles` sets the number of rows, and `mask_id` is computed where it is not given

        Raises
        ------
        ValueError : for an unknown column, a wrong length or a value that does not fit
        """
        unknown = sorted(set(given) - set(COLUMNS))
        if unknown:
            raise ValueError(f"Proposals: unknown columns {unknown}; it has {', '.join(COLUMNS)}")
        if isinstance(given.get("rles"), (str, bytes)):
            raise ValueError("Proposals.rles: expected a list of run lengths, got one; give [run_lengths]")
        n = len(given.get("rles", ()))
        columns = {name: _filled(column, given.get(name, column.default), n) for name, column in COLUMNS.items()}
        if "row" not in given:
            columns["row"] = np.arange(n, dtype=np.int32)
        if "mask_id" not in given:
            columns |= {name: _checked(name, COLUMNS[name], columns[name], n) for name in _NAMED_BY}
            columns["mask_id"] = _ids(columns["image_id"], columns["rles"], columns["sizes_hw"])
        return cls(**columns)

    @classmethod
    def empty(cls) -> Proposals:
        """Return the table of no rows."""
        return cls.make()

    @classmethod
    def concat(cls, parts: Sequence[Proposals]) -> Proposals:
        """Return the rows of all parts, in order."""
        if not parts:
            return cls.empty()
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})

    def __len__(self) -> int:
        return len(self.rles)

    def __repr__(self) -> str:
        images = len(set(self.image_id.tolist()))
        return f"<Proposals: {len(self)} masks of {images} image{'s' * (images != 1)}>"

    def select(self, index: Any) -> Proposals:
        """Return the rows of a boolean mask (N,), of integer positions or of a slice, in that order."""
        index = np.asarray(index) if not isinstance(index, slice) else index
        if isinstance(index, np.ndarray):
            if index.dtype == bool and index.shape != (len(self),):
                raise ValueError(f"Proposals.select: expected a mask of {len(self)} rows, got shape {index.shape}")
            if index.size == 0:
                index = index.astype(np.int64)
        return Proposals(**{name: getattr(self, name)[index] for name in COLUMNS})

    def replace(self, **changes: Any) -> Proposals:
        """Return a copy with some columns replaced (scalars repeated); new masks or images get new mask ids."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        columns |= {name: _filled(COLUMNS[name], value, len(self)) for name, value in changes.items()}
        if "mask_id" not in changes and not changes.keys().isdisjoint(_NAMED_BY):
            columns |= {name: _checked(name, COLUMNS[name], columns[name], len(self)) for name in _NAMED_BY}
            columns["mask_id"] = _ids(columns["image_id"], columns["rles"], columns["sizes_hw"])
        return Proposals(**columns)

    def masks(self, i: Any) -> np.ndarray:
        """Return the mask of row `i` as (H, W) bool, or of several rows of one size as (K, H, W) bool."""
        if isinstance(i, (int, np.integer)):
            return np.asarray(rle.decode([self.rles[i]], _size(self.sizes_hw[i]))[0])
        rows = self.select(i)
        sizes = {_size(size) for size in rows.sizes_hw}
        if len(sizes) > 1:
            raise ValueError(f"Proposals.masks: expected rows of one image size, got {sorted(sizes)}; select an image")
        return rle.decode(list(rows.rles), sizes.pop()) if sizes else np.zeros((0, 0, 0), bool)

    def by_image(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each image id with the positions of its rows, in order of first appearance."""
        if not len(self):
            return
        ids, first, inverse = np.unique(self.image_id.astype(str), return_index=True, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
        for k in np.argsort(first, kind="stable"):
            yield str(ids[k]), groups[k]

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame of flat columns (`box_x0` ... for boxes), run lengths as bytes."""
        import pandas as pd

        flat: dict[str, np.ndarray] = {}
        for name, column in COLUMNS.items():
            values = getattr(self, name)
            flat.update({part: values[:, k] for k, part in enumerate(column.names)} if column.names else {name: values})
        return pd.DataFrame(flat)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame | Mapping[str, Any]) -> Proposals:
        """Build the table from what `to_frame` gives. Raises ValueError naming a missing column."""
        wanted = [part for name, column in COLUMNS.items() for part in (column.names or (name,))]
        missing = [part for part in wanted if part not in frame]
        if missing:
            raise ValueError(f"Proposals.from_frame: columns {missing} are missing; expected {', '.join(wanted)}")
        columns = {}
        for name, column in COLUMNS.items():
            parts = [np.asarray(frame[part]) for part in (column.names or (name,))]
            columns[name] = np.stack(parts, axis=1) if column.names else parts[0]
        return cls(**columns)


def _checked(name: str, column: Column, values: Any, n: int) -> np.ndarray:
    array = np.asarray(values)
    shape = (n, column.width) if column.width else (n,)
    if array.shape != shape:
        raise ValueError(f"Proposals.{name}: expected shape {shape} ({column.doc}), got {array.shape}")
    if array.dtype != column.dtype:
        array = _cast(name, column, array)
    if column.dtype == TEXT:
        _check_text(name, array)
    return array


def _cast(name: str, column: Column, array: np.ndarray) -> np.ndarray:
    """Change the dtype where no value is lost that the column means to keep."""
    kept = "whole numbers that fit" if column.dtype.kind in "iu" else "values that fit"
    try:
        with np.errstate(invalid="ignore"):  # NaN as a whole number: told below, by its value
            cast = array.astype(column.dtype)
        fits = column.dtype.kind not in "iu" or np.array_equal(array, cast)
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(f"Proposals.{name}: expected {kept} {column.dtype} ({column.doc}), got {_some(array)}")
    return cast


def _check_text(name: str, cells: np.ndarray) -> None:
    wanted = bytes if name == "rles" else str
    wrong = [kind.__name__ for kind in set(map(type, cells.tolist())) if not issubclass(kind, wanted)]
    if wrong:
        raise ValueError(f"Proposals.{name}: expected {wanted.__name__} in every row, got {', '.join(sorted(wrong))}")
    if name == "source" and (other := sorted(set(cells.tolist()) - set(SOURCES))):
        raise ValueError(f"Proposals.source: expected {', '.join(SOURCES)}, got {', '.join(other[:3])}")


def _some(array: np.ndarray) -> str:
    return f"{array.dtype} like {', '.join(map(repr, array.reshape(-1)[:3].tolist()))}"


def _filled(column: Column, value: Any, n: int) -> Any:
    """Repeat a scalar (or one box, point or size) to n rows; leave arrays of rows as they are."""
    if column.dtype == TEXT:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
            return np.full(n, value, dtype=np.object_)
        cells = np.empty(len(value), dtype=object)
        cells[:] = list(value)
        return cells
    array = np.asarray(value)
    if column.width and array.ndim == 1 and array.shape == (column.width,):
        return np.tile(array, (n, 1))
    return np.full((n, column.width) if column.width else (n,), array) if array.ndim == 0 else array


def _ids(image_ids: np.ndarray, rles: np.ndarray, sizes_hw: np.ndarray) -> np.ndarray:
    ids = np.empty(len(rles), dtype=object)
    ids[:] = [mask_id(i, r, _size(s)) for i, r, s in zip(image_ids, rles, sizes_hw, strict=True)]
    return ids


def _size(size: np.ndarray) -> tuple[int, int]:
    return int(size[0]), int(size[1])
