"""How many tokens a frame may have, and what ends it earlier."""

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
    """Tokens of a frame for a gazing ratio, at least 1 and at most ``num_tokens``.

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
    """The task loss requirement that decibels stand for, a float32 value; NaN gives NaN.

    An amplitude scale, of no relation to the PSNR of a picture. Negative decibels count as 0.

    Source: inference spec 8.2; visualization spec 5.5.

    >>> requirement_from_db(0), requirement_from_db(math.inf)
    (1.0, 0.0)
    """
    if db == math.inf:
        return 0.0
    return float(np.float32(10 ** (-max(db, 0.0) / 20))) if math.isfinite(db) else math.nan


class ModelDefaults(Protocol):
    """What a model says about its own budget, such as ``GazeConfig``."""

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
        """Where a frame's gaze stops, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRequest:
    """What a caller asks for.

    Attributes:
        max_gaze_tokens_each_frame: A number of tokens, one for each frame, or None.
        gazing_ratio: A ratio, one for each frame, or None.
        task_loss_requirement: A number, ``"model"`` (not given), or None (off).
        top_k: Lower bound of the budget, except of one that a ratio asks for.
    """

    max_gaze_tokens_each_frame: int | Sequence[int] | None = None
    gazing_ratio: float | Sequence[float] | None = None
    task_loss_requirement: float | Literal["model"] | None = "model"
    top_k: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What ends the gaze at a frame.

    Attributes:
        max_tokens: Tokens of a tile and frame, at least 1: one number, or one for each frame.
        task_loss_requirement: Stop when the predicted loss is at most this; None = never.
    """

    max_tokens: int | tuple[int, ...]
    task_loss_requirement: float | None

    def each_frame(self, frames: int) -> tuple[int, ...]:
        """The tokens of each of ``frames`` frames.

        Raises:
            ConfigError: There is a number for each frame, but not for so many.
        """
        if isinstance(self.max_tokens, int):
            return (self.max_tokens,) * frames
        if len(self.max_tokens) != frames:
            raise ConfigError(f"{len(self.max_tokens)} token budgets for {frames} frames")
        return self.max_tokens

    @classmethod
    def resolve(cls, model: ModelDefaults, asked: BudgetRequest) -> Budget:
        """What applies when a request meets a model's defaults.

        ========================  ==========================  ==========================
        given                     tokens                      task loss requirement
        ========================  ==========================  ==========================
        ratio and requirement     from the ratio              as given
        ratio alone               from the ratio              none, whatever the model says
        requirement alone         all                         as given
        neither                   the model's                 the model's
        a number of tokens        that number                 as given, else the model's
        ========================  ==========================  ==========================

        The requirement is "given" when it is a number; None switches it off, and the tokens are
        then what they are without it.

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
    """The token budget under a coverage stop: whole decoder steps that can cover that much.

    Args:
        max_tokens: The budget without it.
        coverage: Fraction of the frame to cover; None, at most 0, or not finite = no coverage
            stop.
        layout: The model's scales; the finest grid counts.
        num_multi_token_pred: Tokens of one decoder step.

    Source: inference spec 8.3.
    """
    if coverage is None or not 0 < coverage < 1:
        return max_tokens
    cells = math.ceil(coverage * max(layout.grids) ** 2)
    steps = -(-cells // num_multi_token_pred)
    return max(1, min(max_tokens, steps * num_multi_token_pred))


class CoverageTracker:
    """How much of one frame the gaze of one sequence has covered.

    The frame is a square grid in which every scale's cells are whole, 28 x 28 for the published
    model. A ratio that is not finite or not above 0 never stops.

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
        """Whether the sequence ends with the present chunk."""
        return self.covered >= self.stop_cells

    def mark(self, token: int) -> None:
        """Cover the cell of an id within the frame."""
        self._covered |= self._areas[token]


@lru_cache(maxsize=8)
def _areas(layout: ScaleLayout) -> NDArray[np.bool_]:
    """The cells of the common grid that each id covers, ``[num_tokens, side * side]``."""
    side = math.lcm(*layout.grids)
    if side > _MAX_COVERAGE_GRID:
        side = min(max(layout.grids), _MAX_COVERAGE_GRID)
    grid, row, col = (part[:, None] for part in layout.cells(np.arange(layout.num_tokens)))
    at = np.arange(side)
    # Cell i of g covers floor(i * side / g) to ceil((i + 1) * side / g), exclusive.
    rows = (at >= row * side // grid) & (at < -(-(row + 1) * side // grid))
    cols = (at >= col * side // grid) & (at < -(-(col + 1) * side // grid))
    areas = (rows[:, :, None] & cols[:, None, :]).reshape(layout.num_tokens, side * side)
    areas.flags.writeable = False
    return areas
