"""Means over clips, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


def summary(
    values: Sequence[float], *, higher_is_better: bool, within: tuple[float, float]
) -> dict[str, Any]:
    """Mean, median, worst clip, and the interval of the mean.

    Args:
        values: One per clip.
        higher_is_better: Whether the worst clip is the lowest.
        within: The least and the greatest possible value, beyond which no interval reaches.
    """
    low, high = mean_interval(values)
    if low is not None and high is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "worst": min(values) if higher_is_better else max(values),
        "low": low,
        "high": high,
    }


def mean_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """A bootstrap interval for the mean of the clips' population; None of one clip.

    Clips are drawn again, with replacement, and the interval is that of the drawn means, by
    percentiles. Those of few clips vary too little; the percentiles are moved outwards as Student's
    distribution and the factor n / (n - 1) ask. Source: Hesterberg, "What teachers should know
    about the bootstrap", 2015, section 3.2 (the expanded percentile interval). As no resample lies
    beyond the clips themselves, Student's interval is included where it reaches further.

    Args:
        values: One per clip; the same values always give the same interval.
        confidence: How often such intervals contain the population's mean.
    """
    n = len(values)
    if n < 2:
        return None, None
    given, t = np.asarray(values, np.float64), t_quantile(0.5 + confidence / 2, n - 1)
    tail = NormalDist().cdf(-t * math.sqrt(n / (n - 1)))
    low, high = np.quantile(given[_draws(n)].mean(1), [tail, 1 - tail])
    mean, reach = given.mean(), t * given.std(ddof=1) / math.sqrt(n)
    return float(min(low, mean - reach)), float(max(high, mean + reach))


@lru_cache(maxsize=4)
def _draws(n: int) -> NDArray[np.int64]:
    """Which clips each resample draws; the same for every figure, so that they are paired."""
    return np.random.default_rng(n).integers(0, n, (RESAMPLES, n))


@lru_cache(maxsize=64)
def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's distribution, for a probability above 0.5.

    >>> round(t_quantile(0.975, 8), 3), round(t_quantile(0.95, 1), 3)
    (2.306, 6.314)
    """
    # t = sqrt(degrees) * tan(a): the density of a is cos(a) ** (degrees - 1), up to a factor.
    angle = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angle) ** (degrees - 1)
    area = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    at = np.interp(2 * probability - 1, area / area[-1], angle)
    return math.sqrt(degrees) * math.tan(float(at))
