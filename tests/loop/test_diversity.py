from __future__ import annotations

import json
import math
import time

import ascii_masks
import holoviews as hv
import numpy as np
import pytest
from strips import strips

from workbench.loop.curriculum import curriculum, difficulty, easy_first
from workbench.loop.diversity import category_diversity, diversity, effective_number, occlusion, quarters, rarity
from workbench.masks import rle
from workbench.tables.proposals import Proposals


def table(*drawings, image_id="a"):
    masks = np.stack([ascii_masks.mask(d) for d in drawings])
    size = masks.shape[1:]
    rles = rle.encode(masks)
    return Proposals.make(rles=rles, image_id=image_id, sizes_hw=size, area_px=rle.area(rles, size))


def test_occlusion__by_hand():
    found = occlusion(
        table(
            """
            ###.....
            ###.....
            ###.....
            """,  # outline of 8 pixels, 3 of them beside the second
            """
            ...#....
            ...#....
            ...#....
            """,  # all three touch the first
            """
            .......#
            ........
            ........
            """,  # alone
        )
    )
    assert found.tolist() == [3 / 8, 1, 0]


def test_occlusion__other_images_do_not_touch():
    one = table("##\n##")
    both = Proposals.concat([one, table("##\n##", image_id="b")])
    assert occlusion(both).tolist() == [0, 0]
    assert occlusion(table("##\n##", "##\n##")).tolist() == [1, 1]
    assert occlusion(Proposals.empty()).tolist() == []
    assert occlusion(table("..\n..", "#.\n..")).tolist() == [0, 0]


def test_rarity__is_inverse_frequency():
    # 6 of a, 2 of b: 8 ÷ (2 × 6) and 8 ÷ (2 × 2); the mean over the reference itself is 1
    labels = ["a"] * 6 + ["b"] * 2
    assert rarity(["a", "b"], labels) == pytest.approx([8 / 12, 2])
    assert rarity(labels).mean() == pytest.approx(1)
    assert rarity(["new"], labels) == pytest.approx([4])
    assert rarity([], labels).shape == (0,)


def test_effective_number__of_equal_categories_is_their_number():
    assert effective_number(list("abcd")) == pytest.approx(4)
    assert effective_number(["a", "a"]) == pytest.approx(1)
    assert effective_number([]) == 0


def test_diversity__sizes_beside_the_reference():
    reference = strips((0, 1), (2, 4), (5, 8), (10, 14))  # areas 1 to 4: quartiles 1.75, 2.5, 3.25
    found = diversity(strips((0, 1), (2, 3), (4, 5), (6, 10)), reference, list("aaab"), list("abab"))
    assert found.size_edges_px.tolist() == [1.75, 2.5, 3.25]
    assert found.size_shares.tolist() == [0.75, 0, 0, 0.25]
    assert found.rarity == pytest.approx(1)
    assert found.n == 4


@pytest.mark.parametrize("areas", [[5], [7, 7, 7], [1, 2, 3, 4, 5], [1, 2, 2, 2, 9, 9], [3, 3, 3, 3, 3, 3, 8]])
def test_quarters__of_the_reference_are_a_quarter_each(areas):
    assert quarters(areas, areas) == pytest.approx([0.25] * 4)
    assert quarters(areas * 3, areas) == pytest.approx([0.25] * 4)


def test_quarters__by_hand():
    reference = [1, 2, 2, 2, 2, 3, 4, 5]  # the 2s span places 1 to 5 of 8: 1, 2 and 1 of the first three quarters
    assert quarters([2], reference).tolist() == [0.25, 0.5, 0.25, 0]
    assert quarters([2.5, 9, 9, 0], reference).tolist() == [0.25, 0, 0.25, 0.5]  # between 2 and 3: place 5 of 8
    assert np.isnan(quarters([1], [])).all()
    assert np.isnan(quarters([], [1])).all()


def test_diversity__masks_of_one_size_are_as_themselves():
    found = diversity(strips((0, 2), (4, 6), (8, 10), (12, 14)))
    assert found.size_shares.tolist() == [0.25] * 4
    (bars,) = found.plot().traverse(None, [hv.Bars])
    assert len(set(bars["area"])) == 4  # none hides another, though the edges are equal


def test_diversity__beside_no_masks_sizes_are_not_known():
    found = diversity(strips((0, 2), (4, 9)), Proposals.empty())
    assert np.isnan(found.size_shares).all()
    assert found.to_dict()["size_shares"] == [None] * 4
    assert (found.n, found.occlusion) == (2, 0)


def test_diversity__rarity_of_partial_labels():
    masks = strips((0, 1), (2, 4), (5, 8), (10, 14))
    truth = ["common", "common", "common", "rare"]
    few = diversity(masks, masks, ["", "", "", "rare"], truth)
    assert (few.labelled, few.n) == (1, 4)
    assert math.isnan(few.rarity)
    assert math.isnan(few.categories)
    half = diversity(masks, masks, ["", "", "common", "rare"], truth)
    assert half.labelled == 2
    assert half.rarity == pytest.approx((4 / 6 + 4 / 2) / 2)
    assert half.categories == pytest.approx(2)
    # the reference's own labels have to be enough too
    other = diversity(masks, masks, truth, ["common", "", "", ""])
    assert math.isnan(other.rarity)
    assert other.categories == pytest.approx(effective_number(truth))
    assert diversity(masks, masks, truth, truth).rarity == pytest.approx(1)


def test_diversity__of_nothing_and_without_labels():
    found = diversity(Proposals.empty())
    assert found.n == 0
    assert math.isnan(found.occlusion)
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert math.isnan(diversity(strips((0, 2))).rarity)


def test_category_diversity__by_hand():
    # a: 3 of 4 found, b: 1 of 4, c: too few to count
    found = [True, True, True, False, True, False, False, False, False]
    labels = list("aaaabbbbc")
    value, note = category_diversity(found, labels, [0, 1] * 4 + [0], np.random.default_rng(0), least=4)
    assert value.value == 0.5
    assert value.n == 2
    assert note == ""
    none, note = category_diversity(found, labels, [0] * 9, np.random.default_rng(0))
    assert not none.known
    assert "20 true masks" in note
    one, note = category_diversity(found, labels, [0] * 9, np.random.default_rng(0), least=4)
    assert math.isnan(one.low)
    assert "one image" in note
    assert not category_diversity([], [], [], np.random.default_rng(0))[0].known


def test_category_diversity__a_category_of_few_images_is_as_sure_as_its_masks():
    """Ten of twenty found on one image: drawing images anew never moves that."""
    found = [True] * 100 + [True, False] * 10
    labels, image = ["a"] * 100 + ["b"] * 20, [*(k % 20 for k in range(100)), *[20] * 20]
    value, _ = category_diversity(found, labels, image, np.random.default_rng(0))
    assert (value.value, value.low, value.high) == (1.0, 0.5, 1.0)
    sure, _ = category_diversity([True] * 120, labels, image, np.random.default_rng(0))
    assert (sure.low, sure.high) == (1.0, 1.0)


# ---- curriculum -------------------------------------------------------------------------------------------------------


def test_difficulty__by_hand():
    # small and touched is difficult: ranks of three masks are 1/6, 3/6, 5/6
    found = difficulty(area_share=[0.1, 0.2, 0.3], occlusion=[0.9, 0.5, 0.0])
    assert found == pytest.approx([5 / 6, 0.5, 1 / 6])
    assert difficulty(score=[0.9, np.nan]).tolist()[0] == 0.5
    assert np.isnan(difficulty(score=[0.9, np.nan])[1])
    assert difficulty(score=[0.9, 0.1], contrast=[np.nan, 1.0]) == pytest.approx([0.25, (0.75 + 0.5) / 2])
    assert difficulty(score=[]).shape == (0,)


def test_difficulty__unknown_parts_are_refused():
    with pytest.raises(ValueError, match="expected some of"):
        difficulty(beauty=[1.0])
    with pytest.raises(ValueError, match="one length"):
        difficulty(score=[1.0], contrast=[1.0, 2.0])


def test_curriculum__later_cycles_add_harder_masks():
    found = curriculum([1, 1, 2, 2], list("abcd"), np.random.default_rng(0), area_share=[0.4, 0.3, 0.2, 0.1])
    assert found.cycles.tolist() == [1, 2]
    assert found.difficulty == pytest.approx([0.25, 0.75])
    assert found.parts["area_share"] == pytest.approx([0.35, 0.15])
    assert (found.low <= found.difficulty).all()
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_curriculum__of_nothing_and_of_one_image():
    rng = np.random.default_rng(0)
    assert len(curriculum([], [], rng, score=[]).cycles) == 0
    assert np.isnan(curriculum([1, 1], ["a", "a"], rng, score=[0.1, 0.2]).low[0])


def test_easy_first__orders_images():
    assert easy_first([0.9, 0.1, 0.5, 0.2], ["a", "b", "c", "b"], ["a", "none", "c", "b"]) == ["b", "c", "a", "none"]


def test_easy_first__is_as_a_plain_loop():
    rng = np.random.default_rng(0)
    images = [f"{k:04x}" for k in rng.permutation(60)]
    image = rng.choice(images[:50], 400)  # the last ten have no masks
    hard = rng.integers(0, 4, 400) / 4  # many equal means
    hard[(rng.random(400) < 0.2) | (image == images[3])] = np.nan
    means = []
    for name in images:
        own = hard[(image == name) & ~np.isnan(hard)]
        means.append(own.mean() if len(own) else np.inf)
    assert easy_first(hard, image, images) == [images[k] for k in np.argsort(means, kind="stable")]
    assert easy_first([], [], ["b", "a"]) == ["b", "a"]


def test_easy_first__reads_the_masks_once_however_many_images():
    images = [f"{k:064x}" for k in range(4000)]
    image, hard = np.repeat(images, 20), np.random.default_rng(0).random(80_000)
    start = time.process_time()
    easy_first(hard, image, images)
    assert time.process_time() - start < 5  # all masks compared for each image take 20 s
