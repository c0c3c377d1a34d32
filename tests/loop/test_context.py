"""What the other masks of an image say about one, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.loop.context import NAMES, context
from workbench.masks import rle

SIZE_HW = (40, 60)


def boxes(*corners) -> list[bytes]:
    """Masks that are boxes (x0, y0, x1, y1)."""
    masks = np.zeros((len(corners), *SIZE_HW), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return rle.encode(masks)


def test_context__rival_whole_part_and_usual_size():
    # 0 and 1 share 8 of 12 columns (IoU 2/3); 2 lies in 0 and in 1; 3 is alone
    rles = boxes((0, 0, 10, 10), (2, 0, 12, 10), (4, 0, 6, 10), (40, 20, 50, 30))
    found = context(rles, [0.9, 0.8, 0.6, 0.95], SIZE_HW)
    np.testing.assert_allclose(found["rival"], np.float64([0.8, 0.9, 0, 0]))
    np.testing.assert_allclose(found["lead"], [0.1, -0.1, 0.6, 0.95])
    np.testing.assert_allclose(found["rival_iou"], [2 / 3, 2 / 3, 0.2, 0])
    np.testing.assert_allclose(found["whole"], [0, 0, 0.9, 0])  # exactly 80 % of 0 lie in 1: not more
    np.testing.assert_allclose(found["part"], [0.6, 0.6, 0, 0])


def test_context__sizes_by_those_of_sure_masks():
    found = context(boxes((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 45, 10)), [0.9, 0.8, 0.3], SIZE_HW)
    np.testing.assert_allclose(found["relative_size"], [0, 0, np.log(0.5)])
    np.testing.assert_allclose(found["size_deviation"], [0, 0, np.log(2)])


@pytest.mark.parametrize("score", [np.nan, -np.inf, np.inf, 0.2])
def test_context__one_mask_has_no_other(score):
    found = context(boxes((0, 0, 10, 10)), [score], SIZE_HW)
    assert tuple(found) == NAMES
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["rival"] == found["rival_iou"] == found["whole"] == found["part"] == found["relative_size"] == 0


def test_context__no_masks():
    assert {name: values.shape for name, values in context([], [], SIZE_HW).items()} == dict.fromkeys(NAMES, (0,))


def test_context__does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 30, (25, 2))
    corners = np.hstack([low, low + rng.integers(1, 10, (25, 2))])
    rles, scores, order = boxes(*corners), rng.random(25), rng.permutation(25)
    plain = context(rles, scores, SIZE_HW)
    mixed = context([rles[k] for k in order], scores[order], SIZE_HW)
    for name in NAMES:
        np.testing.assert_allclose(mixed[name], plain[name][order])
