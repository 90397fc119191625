"""The types of option values, with one-line messages for invalid values."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from autogaze_cli.errors import ConfigError
from autogaze_cli.media.times import parse_rate, parse_time

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


_MOST_DIGITS = 18
"""Of a whole number: no setting is larger, and Python takes long to convert millions of them."""


class Whole(click.ParamType[int]):
    """A whole number, at least ``minimum``, in plain decimal digits."""

    name = "integer"

    def __init__(self, minimum: int = 1) -> None:
        """Refuse what is below ``minimum``."""
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        text = str(value)
        digits = re.fullmatch(r"\+?([0-9]+)", text)
        if digits and len(digits[1]) > _MOST_DIGITS:
            most = 10**_MOST_DIGITS - 1
            self.fail(
                f"must be within {self.minimum} to {most}, not {reprlib.repr(text)}", param, ctx
            )
        number = int(text) if digits else -1
        if number < self.minimum:
            self.fail(
                f"must be a whole number of at least {self.minimum}, not {reprlib.repr(text)}",
                param, ctx,
            )  # fmt: skip
        return number


class Real(click.ParamType[float]):
    """A finite number within bounds."""

    name = "number"

    def __init__(self, minimum: float = -math.inf, maximum: float = math.inf) -> None:
        """Refuse what is below ``minimum`` or above ``maximum``."""
        self.minimum, self.maximum = minimum, maximum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        try:
            number = float(str(value).replace("_", "?"))
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and self.minimum <= number <= self.maximum):
            bounds = f" of at least {self.minimum:g}" if math.isfinite(self.minimum) else ""
            bounds = (
                f" from {self.minimum:g} to {self.maximum:g}"
                if math.isfinite(self.maximum)
                else bounds
            )
            self.fail(f"must be a finite number{bounds}, not {value!r}", param, ctx)
        return number


class Rate(click.ParamType[Fraction]):
    """Frames per second; see ``parse_rate``."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        """The rate, exactly as written."""
        try:
            return parse_rate(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType[Fraction]):
    """Seconds, or ``[hours:]minutes:seconds``; see ``parse_time``."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        """The time in seconds, exactly as written."""
        try:
            return parse_time(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class TaskLoss(Real):
    """A predicted loss to stop at, ``none`` (never stop) or ``model`` (the model's own)."""

    def __init__(self) -> None:
        """A minimum of 0."""
        super().__init__(minimum=0)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The accepted words as typed."""
        return "NUMBER|none|model"

    def convert(  # type: ignore[override]  # a word or None besides the number
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str | None:
        """The number, "model", or None for never."""
        word = str(value).strip().lower()
        if word in ("none", "off", "false", ""):
            return None
        return "model" if word == "model" else super().convert(value, param, ctx)


class Sides(click.ParamType[tuple[int, int]]):
    """Height and width, ``14x14``; one number applies to both."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Height and width, each at least 1."""
        match = re.fullmatch(r"([0-9]{1,18})(?:x([0-9]{1,18}))?", str(value))
        sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not all(sides):
            self.fail(
                f"must be height x width such as 14x14, or one number, not {reprlib.repr(value)}",
                param, ctx,
            )  # fmt: skip
        return sides


class Words(click.ParamType[tuple[str, ...]]):
    """A comma-separated list of known words."""

    def __init__(self, known: Sequence[str]) -> None:
        """Refuse words that are not ``known``."""
        self.name = ",".join(known)
        self.known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The known words, not upper-cased."""
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words, in the order given."""
        words = tuple(word.strip().lower() for word in str(value).split(","))
        if unknown := [word for word in words if word not in self.known]:
            self.fail(f"must be some of {self.name}, not {unknown[0]!r}", param, ctx)
        return words


class Word(click.ParamType[str]):
    """One of several words, or an alias of one."""

    def __init__(self, spellings: Mapping[str, Sequence[str]]) -> None:
        """Canonical words with their aliases."""
        self.name = "|".join(spellings)
        self.canonical = {
            spelling: word for word, others in spellings.items() for spelling in (word, *others)
        }

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The canonical words."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(w) for w in self.name.split("|") if w.startswith(incomplete)]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The canonical words as typed."""
        return f"[{self.name}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The canonical word."""
        word = str(value).strip().lower()
        if word not in self.canonical:
            self.fail(f"must be one of {self.name.replace('|', ', ')}, not {value!r}", param, ctx)
        return self.canonical[word]


class ModelName(click.ParamType[str]):
    """A model: a bundled name, a folder, or the id of one in the Hub cache."""

    name = "model"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of bundled and cached models, and folders."""
        from click.shell_completion import CompletionItem

        from autogaze_cli.model import catalog

        names = {**catalog.bundled(), **catalog.cached()}
        found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="dir")]


class SourceName(click.ParamType[str]):
    """A gaze source: one of this package, or one that another package adds."""

    name = "source"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of all sources."""
        from click.shell_completion import CompletionItem

        from autogaze_cli.sources.registry import source_names

        return [CompletionItem(name) for name in source_names() if name.startswith(incomplete)]
