"""What Stage 3 says of masks that nobody looked at: never more than a sample or a certificate has shown."""

from __future__ import annotations

import pytest

from workbench.loop.stage3 import Rule, rule_of, verify_by


def test_verified__bound_is_rounded_up_and_confidence_is_shown_as_asked_for():
    found = verify_by(["right"] * 200, 5000, 0.05)
    assert found.bound == 0.0144
    assert str(found) == "0 of 200 masks drawn are wrong: at most 1.44% of all, with confidence 95%"
    assert str(verify_by(["right"] * 200, 5000, 0.004)).endswith("with confidence 99.6%")


@pytest.mark.parametrize("wrong", range(0, 60, 7))
def test_verified__never_shows_less_than_the_bound(wrong):
    found = verify_by(["wrong"] * wrong + ["right"] * (173 - wrong), 4111, 0.05)
    shown = str(found).split("at most ")[1].split("%")[0]
    assert found.bound <= float(shown) / 100 < found.bound + 0.001


def test_rule__a_part_of_a_pool_is_promised_no_less_than_may_be_wrong():
    rule = Rule(0.9, "certified", pool=3000, alpha=0.0125, confidence=0.95)
    assert rule.of(3000) == "certified: at most 1.25% wrong, with confidence 95%"
    assert Rule(None, "by triage", alpha=0.1).of(10) == "by triage"
    assert rule.of(2100).endswith(
        "at most 1.79% of them wrong by that, with confidence 95%"
    )  # 0.0125 × 3000 ÷ 2100 = 1.7857…%
    assert rule.of(10).endswith("at most 100% of them wrong by that, with confidence 95%")


def test_rule__a_certificate_of_images_to_come_is_of_shares_averaged_over_images():
    """Where a few images hold most masks, more than alpha of all masks may be wrong: that is not what it promises."""
    granted = {"granted": True, "threshold": 0.5, "alpha": 0.05, "delta": 0.05, "accepted": 4000}
    said = rule_of({"images": granted}, same_pool=False).of(4000)
    assert said.endswith("of an image's masks at most 5% wrong, on average over images, with confidence 95%")
    looked_twice = rule_of({"pool": {**granted, "spent": 0.05}}, same_pool=True).of(4000)
    assert looked_twice.endswith("certified for this pool: at most 5% wrong, with confidence 90%")
