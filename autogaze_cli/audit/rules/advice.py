"""Which helper to call instead."""

from __future__ import annotations

from autogaze_cli.audit.rules import BY_ID
from autogaze_cli.audit.rules.rule import CELL_HELPERS, MASK_HELPERS, Hit

_BY_CELL = ("AGR105", "AGR115", "AGR116", "AGR117")
_BY_FRAME = ("AGR101", "AGR103", "AGR104", "AGR105", "AGR109", "AGR110", "AGR111")


def purposes(hits: list[Hit]) -> set[str]:
    """What the code of a scope goes on to do, by its hits: "cells", "mask"."""
    found = set()
    if any(hit.by_id and hit.rule in _BY_CELL for hit in hits):
        found.add("cells")
    if any(hit.rule == "AGR112" for hit in hits):
        found.add("mask")
    return found


def helpers(hit: Hit, purpose: set[str]) -> tuple[str, ...]:
    """The functions to call instead of what a hit is about, the best first.

    Args:
        hit: One of the hits of a scope.
        purpose: What the code around it goes on to do, see ``purposes``.
    """
    use = BY_ID[hit.rule].use
    if hit.rule not in _BY_FRAME or (hit.rule == "AGR105" and not hit.by_id):
        return use
    first = CELL_HELPERS if "cells" in purpose else MASK_HELPERS[:1] if "mask" in purpose else ()
    return tuple(dict.fromkeys((*first, *use)))
