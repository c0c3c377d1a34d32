"""The plain image processing that a model has to beat: Otsu's threshold and a watershed on distances."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

LEAST_PX = 20


def otsu_watershed(image: np.ndarray) -> np.ndarray:
    """Return (N, H, W) bool masks of bright (or, when the bright side is the larger one, dark) blobs.

    Smoothed by 1 px, cut at Otsu's threshold, split at the watershed of the distance to the ground between maxima at
    least 5 px apart; masks under 20 px are dropped.
    """
    gray = gaussian(image.astype(np.float64).mean(axis=2), 1)
    if np.ptp(gray) == 0:
        return np.zeros((0, *gray.shape), bool)
    above = gray > threshold_otsu(gray)
    if above.mean() > 0.5:
        above = ~above
    distance = gaussian(ndimage.distance_transform_edt(above), 1)
    labels = ndimage.label(above)[0]
    peaks = peak_local_max(distance, min_distance=5, labels=labels, exclude_border=False)
    seeds = np.zeros(gray.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins = watershed(-distance, seeds, mask=above)
    area = np.bincount(basins.ravel())
    kept = np.flatnonzero(area >= LEAST_PX)
    return np.stack([basins == k for k in kept[kept > 0]]) if (kept > 0).any() else np.zeros((0, *gray.shape), bool)
