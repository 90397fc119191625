"""Reading values out of a checkpoint's JSON files, each checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autogaze_cli.errors import ConfigError, FormatError, ModelError
from autogaze_cli.reading import parse_json, read_regular

MAX_SIZE = 1 << 20
"""Larger sizes could only exhaust the memory."""

MOST_JSON = 1 << 24
"""Bytes of a model's JSON file; the index of a large one's weights is the longest."""

_DEEPEST = 10


def read_json(path: Path) -> Any:
    """A parsed JSON file.

    Raises:
        ModelError: The file cannot be read, or is not JSON.
    """
    try:
        return parse_json(read_regular(path, MOST_JSON).decode("utf-8"), "the file")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is not text at byte {error.start}") from error
    except FormatError as error:
        raise ModelError(f"{path}: {error}", hint="download the model again") from error


def without_nulls(value: Any, depth: int = 0) -> Any:
    """An object without its entries that are null, and so on in the objects within."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return value
    return {k: without_nulls(v, depth + 1) for k, v in value.items() if v is not None}


class Section:
    """One object of a JSON file. Every error is a ``ConfigError`` that names the value.

    Attributes:
        name: Where it stands, ``""`` for the whole file.
        values: Its entries; an entry that is null counts as absent.
    """

    def __init__(self, name: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name or 'the file'} must be an object, not {_shown(values)}")
        self.name = name
        self.values = {key: value for key, value in values.items() if value is not None}

    def get(self, key: str, default: Any) -> Any:
        """A value as it is."""
        return self.values.get(key, default)

    def flag(self, key: str, default: bool) -> bool:
        """A value that is true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self._path(key)} must be true or false, not {_shown(value)}")
        return value

    def section(self, key: str, *, optional: bool = False) -> Section:
        """An object within this one; empty when it is optional and absent."""
        return Section(self._path(key), self._value(key, {} if optional else None))

    def size(
        self, key: str, default: int | None = None, *, minimum: int = 1, maximum: int = MAX_SIZE
    ) -> int:
        """A whole number from ``minimum`` to ``maximum``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ConfigError(
                f"{self._path(key)} must be a whole number from {minimum} to {maximum}, "
                f"not {_shown(value)}"
            )
        return value

    def number(
        self, key: str, default: float | None = None, *, minimum: float | None = None
    ) -> float:
        """A finite number above 0, or of at least ``minimum``."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{self._path(key)} must be a number, not {_shown(value)}")
        try:
            usable = math.isfinite(value)
        except OverflowError:  # a whole number beyond any float
            usable = False
        if not usable or (value <= 0 if minimum is None else value < minimum):
            limit = "above 0" if minimum is None else f"of at least {minimum:g}"
            raise ConfigError(f"{self._path(key)} must be a number {limit}, not {_shown(value)}")
        return float(value)

    def must_equal(self, key: str, derived: object) -> None:
        """Refuse a value that is present and contradicts the others."""
        stated = self.values.get(key)
        if stated is not None and stated != derived:
            raise ConfigError(f"{self._path(key)} must be {derived!r}, not {_shown(stated)}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise ConfigError(f"{self._path(key)} is missing")
        return value

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def _shown(value: object) -> str:
    """A value as a message shows it, however long it is."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
