from __future__ import annotations

import json
import math

import ascii_masks
import numpy as np
import pytest
from strips import strips

from workbench.loop.curriculum import curriculum, difficulty, easy_first
from workbench.loop.diversity import category_diversity, diversity, effective_number, occlusion, rarity
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
