"""What a comparison compares, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.model.catalog import default_model
from autogaze_cli.sources.registry import BUILT_IN, source_names

TOKENS = (5, 10, 20, 40, 80)
"""Token budgets per frame, unless others are given."""

FRAMES = 16
"""Frames of a clip, unless another number is given."""

MAX_FRAMES = 1024
"""The longest clip: all its frames are held at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        source: The name of the source or model, as given.
        tokens: Exactly this many tokens in every frame; None = as the source's defaults have it.
        seed: Of chance.
    """

    source: str
    tokens: int | None
    seed: int = 0

    @property
    def setting(self) -> str:
        """``tokens`` or ``default``."""
        return "default" if self.tokens is None else "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """What is compared, and on what.

    Attributes:
        sources: Names of gaze sources and of models.
        tokens: Budgets: exactly so many tokens in every frame.
        sampling: The frames of each clip.
        repeats: Timed runs of each row after one that does not count.
        seeds: Draws of ``random``, which are averaged.
        encoder: A folder or cached Hub id of an encoder to run on what is gazed at; None = none.
        device: Where models run.
        dtype: Their precision.
        threads: CPU threads; None = PyTorch's own choice.
    """

    sources: tuple[str, ...]
    tokens: tuple[int, ...] = TOKENS
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=FRAMES))
    repeats: int = 3
    seeds: int = 8
    encoder: str | None = None
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        for name in ("sources", "tokens"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ConfigError(f"{name} must be one or more, none of them twice")
        for name in ("repeats", "seeds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        check_frames(self.sampling)
        for row in self.rows():  # GazeSettings refuses what it cannot be
            self.gaze(row)

    def rows(self) -> Iterator[Row]:
        """All rows, ``random`` once per seed."""
        for source in self.sources:
            seeds = range(self.seeds if source == "random" else 1)
            for tokens in (*self.tokens, None):
                yield from (Row(source, tokens, seed) for seed in seeds)

    def gaze(self, row: Row) -> GazeSettings:
        """The gaze settings of a row; a name that no source has is that of a model."""
        is_source = row.source in source_names()
        model = None
        if not is_source or row.source == "autogaze":
            model = default_model() if is_source else row.source
        return GazeSettings(
            mask_source=row.source if is_source else "autogaze",
            model=model,
            max_gaze_tokens_each_frame=row.tokens,
            exact=row.tokens is not None,
            seed=row.seed,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
        )

    def described(self) -> dict[str, Any]:
        """All that figures other than times depend on, as JSON values."""
        plain = asdict(self)
        for name in ("device", "threads", "repeats"):
            del plain[name]
        plain["sampling"] = plain_sampling(self.sampling)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


def default_sources() -> tuple[str, ...]:
    """The bundled model, and every source of this package without a model."""
    model = default_model()
    others = tuple(name for name in BUILT_IN if name != "autogaze")
    return others if model is None else (model, *others)


def check_frames(sampling: Sampling) -> None:
    """Refuse clips that are too short to have a second frame, or too long to be held.

    Raises:
        ConfigError: The number of frames is none, or out of range.
    """
    if sampling.frames is None or not 2 <= sampling.frames <= MAX_FRAMES:
        raise ConfigError(f"frames must be within 2 to {MAX_FRAMES}, not {sampling.frames}")


def plain_sampling(sampling: Sampling) -> dict[str, Any]:
    """The frames that are read, as JSON values, without what changes none of them."""
    return {
        name: value if isinstance(value, str | int | None) else str(value)
        for name, value in asdict(sampling).items()
        if name not in ("limits", "isolate", "pipes")
    }


def calibrated_model(name: str | None) -> str:
    """The model of that name, or the bundled one.

    Raises:
        ConfigError: None is named, and none is bundled.
    """
    found = name or default_model()
    if found is None:
        raise ConfigError("calibrate needs a model", hint="give --model FOLDER or a Hub id")
    return found
