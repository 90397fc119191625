"""Reading a checkpoint's JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autogaze_cli.errors import FormatError, ModelError
from autogaze_cli.reading import parse_json, read_regular

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
