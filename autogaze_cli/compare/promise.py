"""Which task loss requirement keeps a promise on clips that were not looked at.

A clip's risk at a requirement is the fraction of its frames whose loss ends above the target. A
requirement is chosen only where a bound of the mean risk of *further* clips is at most 1 -
confidence. The bound is the higher of two:

* **conformal**: ``(sum of risks + 1) / (clips + 1)``, as if one more clip had missed with every
  frame. It bounds the mean risk of the next clip, whatever the clips are like, as long as they come
  from where it comes from. Source: Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal risk
  control", 2022, equation 4.
* **Student's**: the upper end of the one-sided 95 % interval of the mean risk, because the first
  holds on average over the clips that happen to be given, and this time they may be easy ones.

Requirements are tried from the strictest on, and a clip's risk never falls again on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.compare.statistics import t_quantile

_ONE_SIDED = 0.95


@dataclass(frozen=True, slots=True)
class Promise:
    """What was found.

    Attributes:
        index: Of the requirement; None = none can be promised.
        bound: For the fraction of frames above the target: that of the requirement, or of the
            strictest one if none can be promised.
        held_out: The fraction of frames at or under the target when each clip is left out, a
            requirement chosen from the others, and tried on it; None if that cannot be done.
        enough: Whether there are enough clips for any promise at that confidence.
    """

    index: int | None
    bound: float
    held_out: float | None
    enough: bool


def promise(losses: NDArray[np.float64], target: float, confidence: float) -> Promise:
    """Choose the laxest requirement that reaches a loss on enough frames of further clips.

    Args:
        losses: At the end of each frame, ``[clips, requirements, frames]``, the strictest
            requirement first.
        target: The loss to reach.
        confidence: The fraction of frames that must reach it, above 0 and below 1.
    """
    risks = np.maximum.accumulate((losses > target).mean(2), axis=1)
    index = _chosen(risks, confidence)
    return Promise(
        index=index,
        bound=upper_bound(risks[:, index or 0]),
        held_out=_held_out(losses, risks, target, confidence),
        enough=len(losses) >= clips_needed(confidence),
    )


def upper_bound(risks: Sequence[float] | NDArray[np.float64]) -> float:
    """The bound of the mean risk of further clips, from the risks of some.

    >>> upper_bound([0.0] * 19)
    0.05
    """
    n, mean = len(risks), float(np.mean(risks))
    conformal = (float(np.sum(risks)) + 1) / (n + 1)
    if n < 2:
        return conformal
    student = mean + t_quantile(_ONE_SIDED, n - 1) * float(np.std(risks, ddof=1)) / math.sqrt(n)
    return min(1.0, max(conformal, student))


def clips_needed(confidence: float) -> int:
    """The fewest clips from which anything can be promised.

    >>> clips_needed(0.95), clips_needed(0.9)
    (19, 9)
    """
    return max(1, math.ceil(1 / (1 - confidence) - 1 - 1e-9))


def _chosen(risks: NDArray[np.float64], confidence: float) -> int | None:
    """The last requirement before the bound is too high, ``risks [clips, requirements]``."""
    chosen = None
    for index in range(risks.shape[1]):
        if upper_bound(risks[:, index]) > 1 - confidence + 1e-9:
            break
        chosen = index
    return chosen


def _held_out(
    losses: NDArray[np.float64], risks: NDArray[np.float64], target: float, confidence: float
) -> float | None:
    shares = []
    for clip in range(len(losses)):
        index = _chosen(np.delete(risks, clip, axis=0), confidence) if len(losses) > 1 else None
        if index is None:
            return None
        shares.append(float((losses[clip, index] <= target).mean()))
    return float(np.mean(shares))
