"""Token budgets of frames, and the conditions for stopping early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout

_MAX_COVERAGE_GRID = 256


def ratio_budget(ratio: float, num_tokens: int) -> int:
    """Tokens per frame for a gazing ratio, at least 1 and at most ``num_tokens``.

    Raises:
        ConfigError: The ratio is not a finite number.

    Source: inference spec 8.1: the product in float32, truncated.

    >>> ratio_budget(0.75, 265), ratio_budget(0.0, 265)
    (198, 1)
    """
    if not math.isfinite(ratio):
        raise ConfigError(f"gazing_ratio must be a finite number, not {ratio}")
    return max(1, min(num_tokens, int(np.float32(ratio) * np.float32(num_tokens))))


def requirement_from_db(db: float) -> float:
    """The task loss requirement for a value in decibels, a float32 value; NaN gives NaN.

    This is an amplitude scale, unrelated to the PSNR of an image. Negative decibels count as 0.

    Source: inference spec 8.2; visualization spec 5.5.

    >>> requirement_from_db(0), requirement_from_db(math.inf)
    (1.0, 0.0)
    """
    if db == math.inf:
        return 0.0
    return float(np.float32(10 ** (-max(db, 0.0) / 20))) if math.isfinite(db) else math.nan


class ModelDefaults(Protocol):
    """The default budget of a model, such as ``GazeConfig``."""

    @property
    def num_vision_tokens_each_frame(self) -> int:
        """Ids per frame; no budget is larger."""

    @property
    def num_multi_token_pred(self) -> int:
        """Tokens per decoder step, the budget of a model without a ratio."""

    @property
    def gazing_ratio(self) -> float | None:
        """The budget as a fraction of the ids, or None."""

    @property
    def task_loss_requirement(self) -> float | None:
        """The predicted loss at which a frame's gaze stops, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """The budget that a caller requests.

    Attributes:
        max_gaze_tokens_each_frame: A number of tokens, one number per frame, or None.
        gazing_ratio: A ratio, one ratio per frame, or None.
        task_loss_requirement: A number, ``"model"`` (not given), or None (off).
        top_k: Minimum of the budget, except if a ratio is given.
    """

    max_gaze_tokens_each_frame: int | Sequence[int] | None = None
    gazing_ratio: float | Sequence[float] | None = None
    task_loss_requirement: float | Literal["model"] | None = "model"
    top_k: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The stopping conditions of a frame's gaze.

    Attributes:
        max_tokens: Maximum tokens per tile per frame, at least 1: one number, or one per frame.
        task_loss_requirement: Stop once the predicted loss is this low; None = never.
    """

    max_tokens: int | tuple[int, ...]
    task_loss_requirement: float | None

    def each_frame(self, frames: int) -> tuple[int, ...]:
        """The maximum tokens of each of ``frames`` frames.

        Raises:
            ConfigError: There is one number per frame, but for another number of frames.
        """
        if isinstance(self.max_tokens, int):
            return (self.max_tokens,) * frames
        if len(self.max_tokens) != frames:
            raise ConfigError(f"{len(self.max_tokens)} token budgets for {frames} frames")
        return self.max_tokens

    @classmethod
    def resolve(cls, model: ModelDefaults, asked: BudgetRequest) -> Budget:
        """The budget of a request, with a model's defaults.

        ========================  ==========================  ==========================
        given                     tokens                      task loss requirement
        ========================  ==========================  ==========================
        ratio and requirement     from the ratio              as given
        ratio alone               from the ratio              none, regardless of the model
        requirement alone         all                         as given
        neither                   the model's                 the model's
        a number of tokens        that number                 as given, or the model's
        ========================  ==========================  ==========================

        The requirement is "given" if it is a number; None disables it, and the tokens are then the
        same as if it were not given.

        Raises:
            ConfigError: A ratio is not a finite number.

        Source: inference spec 4.4, 8.1.
        """
        ratio, requirement = asked.gazing_ratio, asked.task_loss_requirement
        tokens = _tokens(model, asked)
        if requirement == "model":
            requirement = model.task_loss_requirement if ratio is None else None
        return cls(max_tokens=tokens, task_loss_requirement=requirement)


def _tokens(model: ModelDefaults, asked: BudgetRequest) -> int | tuple[int, ...]:
    """The token column of ``Budget.resolve``."""
    n, ratio, tokens = (
        model.num_vision_tokens_each_frame,
        asked.gazing_ratio,
        asked.max_gaze_tokens_each_frame,
    )
    if isinstance(ratio, Sequence):
        return tuple(ratio_budget(one, n) for one in ratio)
    if ratio is not None:
        return ratio_budget(ratio, n)
    if tokens is None:
        if isinstance(asked.task_loss_requirement, float | int):
            tokens = n
        elif model.gazing_ratio is not None:
            tokens = ratio_budget(model.gazing_ratio, n)
        else:
            tokens = model.num_multi_token_pred
    lowest = max(asked.top_k, 1)
    if isinstance(tokens, Sequence):
        return tuple(min(max(one, lowest), n) for one in tokens)
    return min(max(tokens, lowest), n)


def coverage_budget(
    max_tokens: int, coverage: float | None, layout: ScaleLayout, num_multi_token_pred: int
) -> int:
    """The token budget with a coverage stop: whole decoder steps that can cover the fraction.

    Args:
        max_tokens: The budget without a coverage stop.
        coverage: Fraction of the frame to cover; None, 0 or less, 1 or more, or not finite = no
            coverage stop.
        layout: The model's scales; the finest grid counts.
        num_multi_token_pred: Tokens per decoder step.

    Source: inference spec 8.3.
    """
    if coverage is None or not 0 < coverage < 1:
        return max_tokens
    cells = math.ceil(coverage * max(layout.grids) ** 2)
    steps = -(-cells // num_multi_token_pred)
    return max(1, min(max_tokens, steps * num_multi_token_pred))


class CoverageTracker:
    """Tracks how much of one frame the gaze of one sequence has covered.

    The frame is a square grid that every scale's grid divides, 28 x 28 for the published model. A
    coverage that is not finite or not above 0 never stops.

    Source: inference spec 8.3.
    """

    def __init__(self, layout: ScaleLayout, coverage: float) -> None:
        self._areas = _areas(layout)
        self._covered = np.zeros(self._areas.shape[1], bool)
        total = len(self._covered)
        if math.isfinite(coverage) and coverage > 0:
            self.stop_cells = min(max(math.ceil(min(coverage, 1.0) * total), 1), total)
        else:
            self.stop_cells = total + 1

    @property
    def covered(self) -> int:
        """Cells covered so far."""
        return int(np.count_nonzero(self._covered))

    @property
    def done(self) -> bool:
        """Whether the sequence ends after the current decoder step."""
        return self.covered >= self.stop_cells

    def mark(self, token: int) -> None:
        """Mark the cell of an id within the frame as covered."""
        self._covered |= self._areas[token]


@lru_cache(maxsize=8)
def _areas(layout: ScaleLayout) -> NDArray[np.bool_]:
    """The cells of the common grid that each id covers, ``[num_tokens, side * side]``."""
    side = math.lcm(*layout.grids)
    if side > _MAX_COVERAGE_GRID:
        side = min(max(layout.grids), _MAX_COVERAGE_GRID)
    grid, row, col = (part[:, None] for part in layout.cells(np.arange(layout.num_tokens)))
    at = np.arange(side)
    # Cell i of g covers floor(i * side / g) up to, not including, ceil((i + 1) * side / g).
    rows = (at >= row * side // grid) & (at < -(-(row + 1) * side // grid))
    cols = (at >= col * side // grid) & (at < -(-(col + 1) * side // grid))
    areas = (rows[:, :, None] & cols[:, None, :]).reshape(layout.num_tokens, side * side)
    areas.flags.writeable = False
    return areas
