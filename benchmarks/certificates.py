"""Simulated campaigns of known error: how often certificates are wrong, and how often given: `python -m benchmarks.certificates --json F`.

Masks are wrong with a known probability, alike within images (beta-binomial, a given intra-image correlation). At an
error of exactly alpha every certificate is a violation; at smaller errors the share granted is the power. Beside them:
the binomial bound over all masks of sampled images, which takes masks of one image for independent.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import beta as beta_law
from scipy.stats import hypergeom

from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, processor
from workbench.calibrate.bounds import betting_wealth
from workbench.calibrate.certify import certify_images, certify_pool
from workbench.calibrate.reliability import exact_interval

ALPHA = DELTA = 0.05
CORRELATIONS = (0.0, 0.1, 0.2)
ERRORS = (0.01, 0.02)  # at which power is reported
MASKS_PER_IMAGE = 20  # on average; 1 and more


def main(given: Sequence[str] | None = None) -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--campaigns", type=int, default=4000, help="at one threshold, for each row")
    parser.add_argument("--sequences", type=int, default=1000, help="campaigns of the whole sequence of thresholds")
    parser.add_argument("--labels", type=int, default=300, help="masks drawn from the pool")
    parser.add_argument("--images", type=int, default=100, help="images labelled; the pool has five times as many")
    a = parser.parse_args(given)
    rng = np.random.default_rng(0)
    rows = [row for rho in CORRELATIONS for row in at_one_threshold(rng, rho, a.campaigns, a.images, a.labels)]
    if a.sequences:
        rows += [row for rho in CORRELATIONS for row in in_sequence(rng, rho, a.sequences, a.images, a.labels)]
    write_rows("certificates", commit(), processor(), rows, a.json)


def campaigns(rng: np.random.Generator, n: int, images: int, error: float, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Return masks and wrong masks of each image: (n, images) each.

    The share wrong of an image is beta with mean `error` and intra-image correlation `rho`, whatever its number of masks.
    """
    masks = 1 + rng.poisson(MASKS_PER_IMAGE - 1, (n, images))
    if rho == 0:
        return masks, rng.binomial(masks, error)
    weight = 1 / rho - 1
    return masks, rng.binomial(masks, rng.beta(error * weight, (1 - error) * weight, (n, images)))


def at_one_threshold(rng: np.random.Generator, rho: float, n: int, images: int, labels: int) -> list[Row]:
    """Return violations at an error of exactly alpha, and the power at smaller ones, of all three bounds."""
    rows = []
    for error in (ALPHA, *ERRORS):
        masks, wrong = campaigns(rng, n, images, error, rho)
        pool = (
            fixed_pools(rng, n, 5 * images, error, rho) if error == ALPHA else campaigns(rng, n, 5 * images, error, rho)
        )
        granted = {
            "pool": pool_granted(rng, *pool, labels),
            "images": betting_wealth(wrong / masks, ALPHA, DELTA) >= math.log(1 / DELTA),
            "binomial over masks of images": pooled_granted(masks, wrong),
        }
        for name, given in granted.items():
            rows.append(share(f"{name}, correlation {rho:g}, error {error:.0%}", given, error, name))
    return rows


def fixed_pools(
    rng: np.random.Generator, n: int, images: int, error: float, rho: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pools whose share wrong lies just above alpha: wrong ones are added or taken where they differ."""
    masks, wrong = campaigns(rng, n, images, error, rho)
    for k in range(n):
        missing = math.floor(error * masks[k].sum()) + 1 - wrong[k].sum()
        room = masks[k] - wrong[k] if missing > 0 else wrong[k]
        moved = rng.multivariate_hypergeometric(room, abs(missing))
        wrong[k] += moved if missing > 0 else -moved
    return masks, wrong


def pool_granted(rng: np.random.Generator, masks: np.ndarray, wrong: np.ndarray, labels: int) -> np.ndarray:
    """Draw masks of each pool with equal probability, and test the exact bound, (n,)."""
    total, bad = masks.sum(axis=1), wrong.sum(axis=1)
    seen = rng.hypergeometric(bad, total - bad, labels)
    # the bound is at most alpha exactly when one wrong mask more than alpha allows would show so few with at most delta
    return np.asarray(hypergeom.cdf(seen, total, np.floor(ALPHA * total) + 1, labels) <= DELTA)


def pooled_granted(masks: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Test the binomial bound on all masks of the images as if they were drawn one by one, (n,)."""
    n, k = masks.sum(axis=1), wrong.sum(axis=1)
    return np.asarray(beta_law.ppf(1 - DELTA, k + 1, n - k) <= ALPHA)


def share(name: str, given: np.ndarray, error: float, kind: str) -> Row:
    """Return the share granted with its exact interval; at an error of alpha it has an aim, but for the wrong bound."""
    low, high = exact_interval(given.sum(), len(given))
    aim = DELTA + 2 * math.sqrt(DELTA * (1 - DELTA) / len(given)) if error == ALPHA and "binomial" not in kind else None
    what = "violations" if error == ALPHA else "power"
    return Row(f"{what}: {name}", float(given.mean()), "1", (float(low), float(high)), len(given), aim, "<=")


def in_sequence(rng: np.random.Generator, rho: float, n: int, images: int, labels: int) -> list[Row]:
    """Return how often the threshold found by the whole sequence is worse than alpha, and how often there is one.

    Confidence is uniform on 0.5 to 1 and the error 0.12 (1 − confidence) ÷ 0.5, so that exactly the thresholds above
    0.583 hold in expectation.
    """
    violated = {"pool": np.zeros(n, bool), "images": np.zeros(n, bool)}
    granted = {"pool": np.zeros(n, bool), "images": np.zeros(n, bool)}
    for k in range(n):
        image, confidence, right = ranked(rng, 5 * images, rho)
        drawn = rng.choice(len(image), labels, replace=False)
        labelled = image < images
        pool = certify_pool(confidence[drawn], right[drawn], confidence, ALPHA, DELTA)
        coming = certify_images(confidence[labelled], right[labelled], image[labelled], rng, ALPHA, DELTA)
        granted["pool"][k], granted["images"][k] = pool.granted, coming.granted
        if pool.granted:
            violated["pool"][k] = (~right[confidence > pool.threshold]).mean() > ALPHA
        if coming.granted:
            violated["images"][k] = mean_error(coming.threshold) > ALPHA
    rows = []
    for kind in granted:
        rows.append(share(f"{kind}, sequence, correlation {rho:g}", violated[kind], ALPHA, kind))
        rows.append(share(f"{kind}, sequence, correlation {rho:g}", granted[kind], 0, kind))
    return rows


def ranked(rng: np.random.Generator, images: int, rho: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, confidence and right of each mask of a campaign whose error falls with confidence."""
    image = np.repeat(np.arange(images), 1 + rng.poisson(MASKS_PER_IMAGE - 1, images))
    confidence = rng.uniform(0.5, 1, len(image))
    error = 0.24 * (1 - confidence)
    if rho:  # the errors of an image are all multiplied by one factor of mean 1
        error = np.clip(error * rng.gamma(1 / (10 * rho), 10 * rho, images)[image], 0, 1)
    return image, confidence, rng.random(len(image)) >= error


def mean_error(threshold: float) -> float:
    """Expected share wrong above a threshold, a little high where factors are cut off at 1."""
    return 0.24 * (1 - threshold) / 2


if __name__ == "__main__":
    main()
