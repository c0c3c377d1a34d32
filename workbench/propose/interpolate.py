"""Bilinear interpolation as torch computes it, bit for bit, and whether a segmenter's masks are enlarged by it.

SAM enlarges masks twice: low-resolution logits to the model's square input, of which the part that the image covers
is enlarged to the image. Along one axis both steps together are an `Axis`, which says from where each pixel comes.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from workbench.masks.compiled import compiled
from workbench.sam.segmenter import Embedding, Segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

F32 = np.float32
# height + width up to which torch takes another kernel: aten/src/ATen/native/cpu/UpSampleKernel.cpp, _use_vectorized_kernel_cond_2d
TINY_PX = 128
BAND_PX = 4_000_000  # compared at once


class Axis(NamedTuple):
    """Where pixels come from along one axis: low-resolution (n) → square, cut to the input (m) → image (N).

    first, first_next : (m,) uint32, the low-resolution neighbours of a px of the input, and their weights (float32)
    second, second_next : (N,) uint32, the neighbours in the input of a px of the image, and their weights (float32)
    starts : (n + 1,) int64; px [starts[k], starts[k + 1]) of the image depend on k and after, none before
    reach : how many low-resolution neighbours after its first one a px of the image depends on, at most
    """

    first: NDArray[np.uint32]
    first_next: NDArray[np.uint32]
    first_weight: NDArray[np.float32]
    first_next_weight: NDArray[np.float32]
    second: NDArray[np.uint32]
    second_next: NDArray[np.uint32]
    second_weight: NDArray[np.float32]
    second_next_weight: NDArray[np.float32]
    starts: NDArray[np.int64]
    reach: int


class Enlargement(NamedTuple):
    """Both axes of an enlargement in two bilinear steps."""

    across: Axis
    down: Axis


@runtime_checkable
class TwiceBilinear(Protocol):
    """A segmenter that enlarges masks bilinearly to a square of `square_px`, cuts, and enlarges to the image."""

    @property
    def square_px(self) -> int:
        """Side of the model's square input, px."""


def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        single = ir.FloatType()
        call = builder.module.declare_intrinsic("llvm.fma", [single], ir.FunctionType(single, [single] * 3))
        return builder.call(call, args)

    return types.float32(types.float32, types.float32, types.float32), generate


# a·b + c in float32, rounded once: inside compiled functions only; LLVM is left no choice whether to contract
fma = cast(Callable[[Any, Any, Any], Any], intrinsic(_fma))


@compiled
def _step(
    n_in: int, n_out: int, fused: bool
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.float32]]:
    """Return both neighbours of each output and their weights; pixels are areas (align_corners=False).

    Source: pytorch/pytorch, aten/src/ATen/native/UpSample.h, area_pixel_compute_source_index and
    guard_index_and_lambda: compiled with FMA (`fused`, torch 2.14), or rounding the product first (torch 2.15).
    """
    here, after = np.empty(n_out, np.uint32), np.empty(n_out, np.uint32)
    weight, after_weight = np.empty(n_out, F32), np.empty(n_out, F32)
    scale = F32(n_in) / F32(n_out)
    for i in range(n_out):
        at, part = i, F32(0)
        if n_in != n_out:
            centre = F32(i) + F32(0.5)
            place = fma(scale, centre, F32(-0.5)) if fused else F32(scale * centre) - F32(0.5)
            place = max(place, F32(0))
            at = min(int(place), n_in - 1)
            part = min(max(place - F32(at), F32(0)), F32(1))
        here[i] = at
        after[i] = at if n_in == n_out else min(at + 1, n_in - 1)
        weight[i], after_weight[i] = F32(1) - part, part
    return here, after, weight, after_weight


@functools.lru_cache(maxsize=256)
def axis(low: int, square: int, cut: int, image: int, fused: bool = True) -> Axis:
    """Return the axis that goes from `low` to `square` px, of which the first `cut` go to `image` px.

    fused : whether torch finds places by a fused multiply-add
    """
    here, after, weight, after_weight = _step(low, square, fused)
    second = _step(cut, image, fused)
    nearest, farthest = here[second[0]].astype(np.int64), after[second[1]].astype(np.int64)
    starts = np.searchsorted(nearest, np.arange(low + 1))
    reach = int((farthest - nearest).max())
    return Axis(here[:cut], after[:cut], weight[:cut], after_weight[:cut], *second, starts, reach)


@compiled
def blend_input(
    low: NDArray[np.float32],
    column: int,
    start: int,
    stop: int,
    across: Axis,
    down: Axis,
    row: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill px [start, stop) of one column of the model's input.

    low : (w, h) one mask's low-resolution logits, columns first; row : (h,) scratch; out : (m,)
    """
    here, after = low[across.first[column]], low[across.first_next[column]]
    weight, after_weight = across.first_weight[column], across.first_next_weight[column]
    # unsigned, or each access would ask whether it counts from the end
    for r in range(np.uint64(down.first[start]), np.uint64(down.first_next[stop - 1]) + np.uint64(1)):
        row[r] = fma(here[r], weight, after[r] * after_weight)
    for i in range(np.uint64(start), np.uint64(stop)):
        below = row[down.first_next[i]] * down.first_next_weight[i]
        out[i] = fma(row[down.first[i]], down.first_weight[i], below)


@compiled
def blend_image(
    here: NDArray[np.float32],
    after: NDArray[np.float32],
    weight: np.float32,
    after_weight: np.float32,
    start: int,
    stop: int,
    down: Axis,
    row: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill px [start, stop) of one column of the image from two columns of the model's input.

    here, after : (m,); row : (m,) scratch; out : (N,)
    """
    for i in range(np.uint64(down.second[start]), np.uint64(down.second_next[stop - 1]) + np.uint64(1)):
        row[i] = fma(here[i], weight, after[i] * after_weight)
    for y in range(np.uint64(start), np.uint64(stop)):
        below = row[down.second_next[y]] * down.second_next_weight[y]
        out[y] = fma(row[down.second[y]], down.second_weight[y], below)


@compiled
def enlarge(logits: NDArray[np.float32], across: Axis, down: Axis) -> NDArray[np.float32]:
    """Return (K, h, w) low-resolution logits at the size of the image, every px computed: (K, W, H), columns first."""
    n, low_height, _ = logits.shape
    width, height, cut = len(across.second), len(down.second), len(down.first)
    out = np.empty((n, width, height), F32)
    here, after = np.empty(cut, F32), np.empty(cut, F32)
    low_row, input_row = np.empty(low_height, F32), np.empty(cut, F32)
    for k in range(n):
        low = logits[k].T.copy()
        for x in range(width):
            blend_input(low, across.second[x], 0, cut, across, down, low_row, here)
            blend_input(low, across.second_next[x], 0, cut, across, down, low_row, after)
            weight, after_weight = across.second_weight[x], across.second_next_weight[x]
            blend_image(here, after, weight, after_weight, 0, height, down, input_row, out[k, x])
    return out


def enlargement(segmenter: Segmenter, embedding: Embedding, logits: torch.Tensor) -> Enlargement | None:
    """Return how `segmenter` enlarges these (K, h, w) logits, or None where it is not known to the last bit.

    It is known for a `TwiceBilinear` on the CPU whose `upscale` agrees with `enlarge` on random logits of these very
    sizes: tried once a process, in the arithmetic of torch 2.14 and of 2.15. Torch goes other ways where images are tiny,
    which so few pixels might not tell, or the processor has no FMA.
    """
    if not isinstance(segmenter, TwiceBilinear) or logits.device.type != "cpu" or logits.dtype != torch.float32:
        return None
    if sum(embedding.size_hw) <= TINY_PX:
        return None
    height, width = int(logits.shape[1]), int(logits.shape[2])
    threaded = torch.get_num_threads() > 1
    kind = type(segmenter), type(getattr(segmenter, "model", None))
    key = (*kind, height, width, segmenter.square_px, embedding.input_hw, embedding.size_hw, threaded)
    if key not in _agrees:
        square, input_hw, size_hw = segmenter.square_px, embedding.input_hw, embedding.size_hw
        variants = (
            Enlargement(*(axis(low, square, input_hw[k], size_hw[k], fused) for k, low in ((1, width), (0, height))))
            for fused in (True, False)
        )
        _agrees[key] = next((v for v in variants if _check(segmenter, embedding, (height, width), v)), None)
        if _agrees[key] is None:
            log.debug("masks of %s are enlarged by torch: its bits differ from ours", key)
    return _agrees[key]


# what agreed by classes of segmenter and model, sizes and threads; threads that ask at once find the same
_agrees: dict[tuple[object, ...], Enlargement | None] = {}


def _check(segmenter: Segmenter, embedding: Embedding, low_hw: tuple[int, int], sizes: Enlargement) -> bool:
    """Compare every pixel, of one mask where images are large, a band of columns at a time: torch's answer is all that is held."""
    height, width = embedding.size_hw
    masks = 2 if height * width <= BAND_PX else 1
    logits = np.random.default_rng(0).normal(0, 5, (masks, *low_hw)).astype(F32)
    expected = segmenter.upscale(torch.as_tensor(logits)[:, None], embedding)[:, 0].numpy()
    if expected.shape != (masks, height, width):
        return False
    step = max(1, BAND_PX // height)
    return all(_same(logits, expected, sizes, slice(k, k + step)) for k in range(0, width, step))


def _same(logits: NDArray[np.float32], expected: NDArray[np.float32], sizes: Enlargement, columns: slice) -> bool:
    """Whether columns of the image are equal to the bit."""
    names = ("second", "second_next", "second_weight", "second_next_weight")
    across = sizes.across._replace(**{name: getattr(sizes.across, name)[columns] for name in names})
    found = enlarge(logits, across, sizes.down).transpose(0, 2, 1)
    return bool((found.view(np.int32) == expected[:, :, columns].view(np.int32)).all())
