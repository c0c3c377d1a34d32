"""False positives by audits: worked out by hand, in a simulation whose truth is known, and with nothing to count."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.loop.audited import SUMS, Audited, AuditedImage, Sums, coverage, difference, fp_rate
from workbench.tables.intervals import bootstrap_many, exact_binomial


def rng():
    return np.random.default_rng(0)


def image(seen=(), answered=(), probability=0.1, drawable=0):
    """An image whose seen and answered masks are given by whether they are wrong; the others could have been drawn."""
    names = [f"a{k}" for k in range(len(answered))]
    others = [f"d{k}" for k in range(drawable)]
    return (
        AuditedImage(
            {f"s{k}": wrong for k, wrong in enumerate(seen)},
            dict(zip(names, answered, strict=True)),
            dict.fromkeys(names, probability),
            frozenset([*names, *others]),
        ),
        [*(f"s{k}" for k in range(len(seen))), *names, *others],
    )


def point(*images, auto=None):
    """Return the sums (SUMS, 1, M) of images of which all masks are auto-accepted, or those chosen."""
    found = Audited.of(images)
    return found.sums(np.ones(len(found.image_of_row), bool) if auto is None else np.array(auto, bool))[:, None]


def test_fp_rate__worked_out_by_hand():
    # seen: 1 of 4 wrong. Drawn with 0.1 and 0.25: 1 of 2 and 0 of 2 wrong, which stand for 10 of 20 and 0 of 8 masks
    sums = point(image([True, False, False], [True, False], drawable=18), image([False], [False, False], 0.25, 6))
    assert [float(part) for part in np.nansum(sums, axis=2)[:, 0]] == [1, 4, 10, 28, 232, 1, 4, 28, 32]
    found = fp_rate(sums, rng())
    assert found.value[0] == pytest.approx((1 + 10) / (4 + 28))
    assert found.n[0] == 4  # audited masks
    # one event: exact at the effective number 28² ÷ 232 of audited masks, with the seen ones as they are
    n = 28**2 / 232
    low, high = (float(end) for end in exact_binomial(n * 10 / 28, n))
    assert [found.low[0], found.high[0]] == pytest.approx([(1 + 28 * low) / 32, (1 + 28 * high) / 32])
    assert coverage(sums, rng()).value[0] == 1


def test_fp_rate__few_events_of_equal_probability_have_the_exact_interval_of_the_count():
    found = fp_rate(point(image((), [True] + 29 * [False], 0.05), image((), 30 * [False], 0.05)), rng())
    low, high = (float(end) for end in exact_binomial(1, 60))
    assert [found.value[0], found.low[0], found.high[0]] == pytest.approx([1 / 60, low, high])
    assert found.exact[0]
    assert found.n[0] == 60


def test_fp_rate__many_events_are_drawn_by_image():
    sums = point(*(image([True, False], [k % 3 == 0, False], 0.2, 8) for k in range(30)))
    found, expected = fp_rate(sums, rng()), bootstrap_many(*Sums(*sums).rate, rng(), of_events=False)
    assert not found.exact[0]
    assert [found.value[0], found.low[0], found.high[0]] == [expected.value[0], expected.low[0], expected.high[0]]
    assert found.low[0] < found.value[0] < found.high[0]


def test_fp_rate__only_what_a_point_accepts_counts():
    one = image([True, False], [True, False], 0.5)
    found = fp_rate(point(one, auto=[0, 1, 0, 1]), rng())
    assert (found.value[0], found.n[0]) == (0, 1)


def test_fp_rate__masks_without_a_chance_widen_the_interval():
    judged, ids = image((), 40 * [False], 0.5, 40)
    whole, part = point((judged, ids)), point((judged, [*ids, *(f"new{k}" for k in range(20))]))
    assert coverage(part, rng()).value[0] == pytest.approx(0.8)
    full, found = fp_rate(whole, rng()), fp_rate(part, rng())
    assert found.value[0] == full.value[0] == 0
    assert found.high[0] == pytest.approx(full.high[0] * 0.8 + 0.2)


def test_fp_rate__unknown_where_none_that_could_be_drawn_was_judged():
    found = fp_rate(point(image([True, False], drawable=5)), rng())
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
    all_seen = fp_rate(point(image([True, False])), rng())
    assert (all_seen.value[0], all_seen.n[0]) == (0.5, 0)


def test_fp_rate__images_without_an_audit_and_none_at_all():
    beside = (None, ["x", "y"])
    assert np.isnan(point(beside)).all()
    one = image([True], [False], 0.5)
    assert fp_rate(point(one, beside), rng()).value[0] == fp_rate(point(one), rng()).value[0] == pytest.approx(1 / 3)
    for nothing in (point(beside), np.zeros((SUMS, 1, 0)), point(image())):
        found = fp_rate(nothing, rng())
        assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
        assert found.n[0] == 0
    assert fp_rate(np.zeros((SUMS, 0, 3)), rng()).value.shape == (0,)


def pool(generator, images=60):
    """Masks of images, some looked at one by one and often wrong, most not looked at and seldom wrong."""
    for _ in range(images):
        seen, unseen = int(generator.integers(2, 8)), int(generator.integers(10, 30))
        yield generator.random(seen) < 0.4, generator.random(unseen) < generator.beta(1, 12)


def drawn(generator, seen, unseen, probability=0.2):
    judged = np.flatnonzero(generator.random(len(unseen)) < probability)
    known, ids = image(seen.tolist(), drawable=len(unseen))
    answers = {f"d{k}": bool(unseen[k]) for k in judged}
    return known._replace(answered=answers, probability=dict.fromkeys(answers, probability)), ids


def test_fp_rate__weights_take_the_bias_away():
    generator = np.random.default_rng(3)
    masks = list(pool(generator))
    true = sum(s.sum() + u.sum() for s, u in masks) / sum(len(s) + len(u) for s, u in masks)
    weighted, plain, held, n = [], [], 0, 400
    for _ in range(n):
        sums = point(*(drawn(generator, *of_image) for of_image in masks))
        found = fp_rate(sums, generator)
        weighted.append(found.value[0])
        held += found.low[0] <= true <= found.high[0]
        of_all = Sums(*sums.sum(axis=(1, 2)))
        plain.append((of_all.seen_wrong + of_all.wrong) / (of_all.seen + of_all.answered))
    error = np.std(weighted) / np.sqrt(n)
    assert abs(np.mean(weighted) - true) < 4 * error
    assert abs(np.mean(plain) - true) > 40 * error
    assert held >= 0.93 * n


def test_difference__is_paired_and_of_equal_points_nothing():
    images = [image([True, False], [k % 3 == 0, False], 0.2, 8) for k in range(30)]
    sums = point(*images)
    same = difference(sums, sums, rng())
    assert (same.value[0], same.low[0], same.high[0], same.n[0]) == (0, 0, 0, 30)
    strict = np.tile([0, 1, 0, 1, *8 * [1]], 30)
    found = difference(sums, point(*images, auto=strict), rng())
    assert found.value[0] == pytest.approx(fp_rate(sums, rng()).value[0])
    assert 0 < found.low[0] < found.value[0] < found.high[0]
    assert found.exact[0]  # no event on one side


def test_difference__of_images_that_both_have():
    a, b = point(image([True], [False]), image([True], [True])), point(image([True], [False]), (None, ["x"]))
    assert difference(a, b, rng()).n[0] == 1
    assert difference(a, b, rng()).value[0] == pytest.approx(0)
