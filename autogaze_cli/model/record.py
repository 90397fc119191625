"""The record of the bundled models, ``models.json``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

_Name = Annotated[str, Meta(pattern=r"^\w[\w.-]{0,99}$")]
_Line = Annotated[str, Meta(max_length=1000)]


class Entry(Struct, forbid_unknown_fields=True):
    """A bundled model; see ``catalog.Model``."""

    name: _Name
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(ge=0, le=1 << 40)]
    licence: _Line
    summary: _Line


class Record(Struct, forbid_unknown_fields=True):
    """All of them, and the one that runs when none is named."""

    default: _Name | None
    models: Annotated[list[Entry], Meta(max_length=1000)]
