"""Simulated campaigns of known error: how often certificates are wrong, and how often given: `python -m benchmarks.certificates --json F`.

Masks are wrong with a known probability, alike within images (beta-binomial, a given intra-image correlation). At an
error of exactly alpha every certificate is a violation; at smaller errors the share granted is the power. Beside them:
the binomial bound over all masks of sampled images, which takes masks of one image for independent.

With `--data FOLDER` (images/ and instances.json) also real masks: proposals of the bundled SAM, split at random by image
many times into images that the recalibration is fitted on, images that certify, and test images. Reported for several
alphas: the share of splits that abstain, and the share whose promise the others break (all masks of the pool, which is
exact; the mean over test images, which has the noise of few images on top).
"""

from __future__ import annotations

import argparse
import functools
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import beta as beta_law
from scipy.stats import hypergeom

from benchmarks.figures import Row, write_rows
from benchmarks.measuring import commit, one_set, processor
from workbench.calibrate.bounds import betting_wealth
from workbench.calibrate.certify import certify_images, certify_pool
from workbench.calibrate.intervals import exact_binomial
from workbench.calibrate.recalibrate import fit
from workbench.calibrate.reliability import undefined
from workbench.formats import coco
from workbench.loop.labelling import Labelled, label
from workbench.loop.plan import first_triage, fitting_floors
from workbench.project import Project
from workbench.sam.load import load_sam

ALPHA = DELTA = 0.05
CORRELATIONS = (0.0, 0.1, 0.2)
ERRORS = (0.01, 0.02)  # at which power is reported
LOOKS = (1, 2, 4, 8)  # times as many labels as at the first, where a certificate is asked for until one is granted
REAL_ALPHAS = (0.05, 0.1, 0.2)  # few images can promise little
MASKS_PER_IMAGE = 20  # on average; 1 and more


def main(given: Sequence[str] | None = None) -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--campaigns", type=int, default=4000, help="at one threshold, for each row")
    parser.add_argument("--sequences", type=int, default=1000, help="campaigns of the whole sequence of thresholds")
    parser.add_argument("--labels", type=int, default=300, help="masks drawn from the pool")
    parser.add_argument("--images", type=int, default=100, help="images labelled; the pool has five times as many")
    parser.add_argument("--data", type=Path, help="a folder with images/ and instances.json, for splits of real masks")
    parser.add_argument("--limit", type=int, default=24, help="images to take of it")
    parser.add_argument("--splits", type=int, default=200, help="random splits of real images")
    parser.add_argument("--points", type=int, default=32, help="points a side for the proposals")
    parser.add_argument("--keep", type=Path, help="folder for the project; the same command uses its proposals again")
    a = parser.parse_args(given)
    rng = np.random.default_rng(0)
    rows = [row for rho in CORRELATIONS for row in at_one_threshold(rng, rho, a.campaigns, a.images, a.labels)]
    rows += [row for rho in CORRELATIONS for row in looked_again(rng, rho, a.campaigns, a.images, a.labels)]
    if a.sequences:
        rows += [row for rho in CORRELATIONS for row in in_sequence(rng, rho, a.sequences, a.images, a.labels)]
    if a.data:
        with tempfile.TemporaryDirectory() as folder:
            found = labelled_masks(one_set(a.data), a.keep or Path(folder), a.limit, a.points)
        rows += on_real_splits(rng, found, a.splits, a.labels)
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


def looked_again(rng: np.random.Generator, rho: float, n: int, images: int, labels: int) -> list[Row]:
    """Return how often at an error of alpha one of several looks is granted, each by more labels than the one before.

    What is promised then is the sum of their deltas (`Certificate.spent`): that is the aim.
    """
    masks, wrong = fixed_pools(rng, n, 5 * images * len(LOOKS), ALPHA, rho)
    total, bad = masks.sum(axis=1), wrong.sum(axis=1)
    seen, drawn = np.zeros(n, np.int64), 0
    of_pool, of_images = np.zeros(n, bool), np.zeros(n, bool)
    losses = np.divide(*campaigns(rng, n, images * LOOKS[-1], ALPHA, rho)[::-1])
    for times in LOOKS:
        more = times * labels - drawn
        seen += rng.hypergeometric(bad - seen, total - drawn - (bad - seen), more)
        drawn += more
        of_pool |= hypergeom.cdf(seen, total, np.floor(ALPHA * total) + 1, drawn) <= DELTA
        order = rng.permuted(losses[:, : images * times], axis=1)
        of_images |= betting_wealth(order, ALPHA, DELTA) >= math.log(1 / DELTA)
    promised = DELTA * len(LOOKS)
    aim = promised + 2 * math.sqrt(promised * (1 - promised) / n)
    rows = []
    for kind, given in (("pool", of_pool), ("images", of_images)):
        low, high = exact_binomial(given.sum(), n)
        name = f"violations: {kind}, {len(LOOKS)} looks, correlation {rho:g}, error {ALPHA:.0%}"
        rows.append(Row(name, float(given.mean()), "1", (float(low), float(high)), n, aim, "<="))
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
    low, high = exact_binomial(given.sum(), len(given))
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
        pool = certify_pool(confidence[drawn], right[drawn], confidence, ALPHA, DELTA, bounds=False)
        coming = certify_images(confidence[labelled], right[labelled], image[labelled], rng, ALPHA, DELTA, bounds=False)
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


def labelled_masks(data: Path, home: Path, limit: int, points: int) -> Labelled:
    """Return distinct proposals of the bundled SAM on some images, labelled by their truth; made once in `home`."""
    names = [entry.file_name for entry in coco.read(data / "instances.json").images]
    chosen = np.sort(np.random.default_rng(0).choice(len(names), min(limit, len(names)), replace=False))
    files = [str(data / "images" / names[k]) for k in chosen]
    folder = home / f"certificates-{data.name}-{len(files)}-{points}.wb"
    with Project.open(folder) if folder.exists() else Project.create(folder, images=files) as project:
        sam = load_sam("bundled", device="cpu")
        floors = fitting_floors(sam.model_id).replace(points_per_side=points, crop_n_layers=0, jitter_prompts=0)
        project.propose(sam, floors)
        project.triage(first_triage(None, floors, sam.model_id))
        project.import_coco(data / "instances.json")
        return label(project, project.images()["image_id"].tolist())


def on_real_splits(rng: np.random.Generator, rows: Labelled, n: int, labels: int) -> list[Row]:
    """Return abstentions and broken promises over random splits by image: a third each to fit, to certify, to test."""
    use = rows.known & rows.within
    features, distinct = rows.features.select(use), rows.right[use]
    image = np.unique(rows.image[use].astype(str), return_inverse=True)[1].reshape(-1)
    images = int(image.max(initial=-1)) + 1
    granted = {(kind, alpha): np.zeros(n, bool) for kind in ("pool", "images") for alpha in REAL_ALPHAS}
    broken = {key: np.zeros(n, bool) for key in granted}
    for k in range(n):
        part = rng.permutation(images)[image] * 3 // max(images, 1)
        if undefined(distinct[part == 0]):  # one class only: nothing can be fitted, so nothing is promised
            continue
        p = fit("platt", features.select(part == 0), distinct[part == 0]).predict(features)
        right = right_above(rows, use, p)
        pool, own, test = part > 0, part == 1, part == 2
        drawn = rng.choice(np.flatnonzero(pool), min(labels, int(pool.sum())), replace=False)
        for alpha in REAL_ALPHAS:
            of_pool = certify_pool(p[drawn], of(right, drawn), p[pool], alpha, DELTA, bounds=False)
            coming = certify_images(p[own], of(right, own), image[own], rng, alpha, DELTA, bounds=False)
            granted["pool", alpha][k], granted["images", alpha][k] = of_pool.granted, coming.granted
            if of_pool.granted:
                some = pool & (p > of_pool.threshold)
                broken["pool", alpha][k] = (~right(of_pool.threshold)[some]).mean() > alpha
            if not coming.granted:
                continue
            some = test & (p > coming.threshold)
            shares = np.bincount(image[some], ~right(coming.threshold)[some], images)[np.unique(image[some])]
            shares = shares / np.bincount(image[some], minlength=images)[np.unique(image[some])]
            broken["images", alpha][k] = len(shares) > 0 and shares.mean() > alpha
    found = []
    for (kind, alpha), given in granted.items():
        name = f"{kind}, {images} real images, alpha {alpha:g}"
        found.append(plain_share(f"abstentions: {name}", ~given))
        found.append(plain_share(f"violations: {name}", broken[kind, alpha]))
    return found


def right_above(rows: Labelled, use: np.ndarray, p: np.ndarray) -> Callable[[float], np.ndarray]:
    """Return which of the rows in use are right when those above a threshold are matched alone, as `fp_rate` counts."""

    @functools.cache
    def right(threshold: float) -> np.ndarray:
        accepted = np.zeros(len(use), bool)
        accepted[use] = p > threshold
        return rows.comparison.verdicts(accepted).right[use]

    return right


def of(right: Callable[[float], np.ndarray], some: np.ndarray) -> Callable[[float], np.ndarray]:
    """Return the labels of some rows only."""
    return lambda threshold: right(threshold)[some]


def plain_share(name: str, given: np.ndarray) -> Row:
    """Return a share of splits without an aim: splits of the same images are not independent campaigns."""
    low, high = exact_binomial(given.sum(), len(given))
    return Row(name, float(given.mean()), "1", (float(low), float(high)), len(given), None, "<=")


if __name__ == "__main__":
    main()
