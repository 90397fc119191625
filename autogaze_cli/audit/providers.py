"""The modules that own the decoding: those that define the model, or the helpers, themselves.

What a package is called says nothing: most users of the published package are forks of it, which
keep its name and add modules of their own.

Source: audit spec B.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MAKING = re.compile(
    rb"^[ \t]*(?:class|(?:pub[ \t]+)?struct|def|(?:pub[ \t]+)?fn)[ \t]+"
    rb"(AutoGaze|AutoGazeModel|AutoGazeGenerateOutput|ScaleLayout|Fixations"
    rb"|generated_to_frame_readout_tokens|scale_token_layouts)\b",
    re.MULTILINE,
)
_WHOLE = (
    frozenset(["AutoGaze", "AutoGazeModel"]),  # the research package
    frozenset(["AutoGazeGenerateOutput", "generated_to_frame_readout_tokens"]),  # the Rust crate
    frozenset(["scale_token_layouts", "generated_to_frame_readout_tokens"]),  # readout helpers
    frozenset(["ScaleLayout", "Fixations"]),  # this project's own id arithmetic
)
"""What the files of a folder define together where it holds the model or the helpers."""


def definitions(source: bytes) -> set[str]:
    """What of a provider a file defines."""
    return {match[1].decode() for match in _MAKING.finditer(source)}


def provider_folders(defined: Mapping[str, set[str]]) -> set[str]:
    """The folders that hold a provider, "" for the top.

    Args:
        defined: What each file defines, by its name.
    """
    by_folder: dict[str, set[str]] = {}
    for name, words in defined.items():
        by_folder.setdefault(name.rpartition("/")[0], set()).update(words)
    return {folder for folder, words in by_folder.items() if any(w <= words for w in _WHOLE)}
