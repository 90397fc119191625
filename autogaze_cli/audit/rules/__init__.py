"""The rules: what they find, and the page that says so.

A rule is a small function from a scope to what it hits there, with its page beside it. The page is
the one source of ``--explain``, of the help in SARIF, and of ``docs/audit.md``.

Source: audit spec B.7.
"""

from autogaze_cli.audit.rules import arithmetic, boundary, cells, decoders, grids
from autogaze_cli.audit.rules.rule import Hit, Rule

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (*arithmetic.RULES, *cells.RULES, *grids.RULES, *decoders.RULES, *boundary.RULES),
        key=lambda rule: rule.id,
    )
)
"""Every rule, by its id."""

BY_ID = {rule.id: rule for rule in RULES}

STAGES = (*arithmetic.RULES, *cells.RULES, *grids.RULES, *decoders.RULES)
"""The rules of one file in the order they run: the later look at what the earlier hit."""

__all__ = ["BY_ID", "RULES", "STAGES", "Hit", "Rule"]
