"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from autogaze_cli.audit.flow import File
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.scopes import Scope

LEVELS = ("note", "warning", "error")
"""Severities, the lowest first."""

FRAME_HELPERS = (
    "generated_to_frame_readout_tokens",
    "generated_frame_readout_tokens",
    "trace_to_frame_readout_tokens",
)
VIDEO_HELPERS = ("generated_to_video_readout_tokens", "generated_to_video_readout_coords")
LAYOUT_HELPERS = ("scale_token_layouts", "generated_to_frame_readout_tokens")
MASK_HELPERS = ("fixation_image_mask_tensor", "scale_token_masks", *VIDEO_HELPERS)


CELL_HELPERS = ("generated_to_fixation_sets", FRAME_HELPERS[0])
"""What gives the scale, the row and the column of each gaze, in the order of choice."""


@dataclass(slots=True, eq=False)
class Hit:
    """One place in a file that a rule objects to.

    Attributes:
        rule: Id of the rule.
        node: The construct; its ``at`` is the place.
        message: What was found, and why it is wrong.
        by_id: Whether an id is one of the operands.
        value: Whether the hit is an expression that computes something from an id.
        related: Other places that belong to it, with what they are.
    """

    rule: str
    node: Node
    message: str
    by_id: bool = False
    value: bool = False
    related: list[tuple[Node, str]] = field(default_factory=list)


Check = Callable[[File, Scope, list[Hit]], Iterator[Hit]]
"""Finds hits in a scope, given those of the rules before it in the same file's scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule and its page.

    Attributes:
        id: ``AGR`` and three digits.
        name: Its name in words.
        level: Its severity unless the user sets another.
        what: What it fires on.
        why: Why that is wrong.
        example: Code it fires on.
        better: The same done with a helper.
        use: The functions to call instead.
        advice: What to do, with ``{}`` for the first of them.
        check: Its function; None where the whole repository has to be seen.
    """

    id: str
    name: str
    level: str
    what: str
    why: str
    example: str
    better: str
    use: tuple[str, ...]
    advice: str = "call {} instead"
    check: Check | None = None

    def markdown(self) -> str:
        """Its page."""
        use = ", ".join(f"`{name}`" for name in self.use) or "-"
        return (
            f"{self.what}\n\n**Why.** {self.why}\n\n"
            f"**Example.**\n\n```python\n{self.example}\n```\n\n"
            f"**Instead.**\n\n```python\n{self.better}\n```\n\n**Call.** {use}\n"
        )

    def text(self) -> str:
        """Its page for a terminal."""
        lines = [f"{self.id} {self.name} ({self.level})", "", self.what, "", f"Why: {self.why}"]
        for title, code in (("Example:", self.example), ("Instead:", self.better)):
            lines += ["", title, *(f"    {line}" for line in code.split("\n"))]
        return "\n".join([*lines, "", f"Call: {', '.join(self.use) or '-'}"])
