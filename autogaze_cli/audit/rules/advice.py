"""Which helper to call instead."""

from __future__ import annotations

from autogaze_cli.audit.rules import BY_ID
from autogaze_cli.audit.rules.rule import CELL_HELPERS, MASK_HELPERS, Hit

_BY_CELL = ("AGR105", "AGR115", "AGR116", "AGR117")
_BY_FRAME = ("AGR101", "AGR103", "AGR104", "AGR105", "AGR109", "AGR110", "AGR111")


def helpers(hit: Hit, hits: list[Hit]) -> tuple[str, ...]:
    """The functions to call instead of a hit, by what the code around it goes on to do.

    Args:
        hit: One of the hits of a scope.
        hits: All of them.
    """
    use = BY_ID[hit.rule].use
    if hit.rule not in _BY_FRAME or (hit.rule == "AGR105" and not hit.by_id):
        return use
    if any(other.by_id and other.rule in _BY_CELL for other in hits):
        return tuple(dict.fromkeys((*CELL_HELPERS, *use)))
    if any(other.rule == "AGR112" for other in hits):
        return tuple(dict.fromkeys((MASK_HELPERS[0], *use)))
    return use
