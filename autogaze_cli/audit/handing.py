"""Whether a function that is not known gives ids back when it is given some: by its name."""

from __future__ import annotations

import re

from autogaze_cli.audit.names import normalise
from autogaze_cli.audit.nodes import Node

_HANDING = re.compile(
    r"(?:^|_)(?:array|asarray|list|tensor|tuple|vec|vector|iter|unique|sort|sorted|cat|concat"
    r"|concatenate|stack|hstack|vstack|pad|where|select|filter|flat|flatten|ravel|reshape|view"
    r"|squeeze|unsqueeze|expand|repeat|tile|roll|flip|copy|clone|cloned|cast|convert|move|from|slice"
    r"|split|chunk|chunks|pick|take|get|load|unwrap|int|long|abs|rem|mod|fmod|remainder|sub|add|max"
    r"|min|maximum|minimum|clamp|clip|some|ok|number|parse|map|to|as|ids?|pos|positions?|local|locals"
    r"|divmod|float|uint|double|size|remap|shift|rebase|window|range|rearrange|einsum|masked|fill|next|zip|enumerate|set|deque)"
    r"(?:_|$)"
)
_PARTING = re.compile(r"split|chunk|slice|flat|list|array|tensor|numpy|unpad|ids$")
_OWN = frozenset(["self", "this", "cls"])


def hands_on(call: Node) -> bool:
    """Whether what a call gives is made of the ids it is given, and not looked up with them."""
    callee = call.parts[0]
    if callee.kind == "index" or call.text[:1].isupper():
        return call.text in ("Some", "Ok", "Number", "Array")
    if callee.kind == "member" and callee.parts:
        owner = callee.parts[0]
        while owner.kind == "member" and owner.parts:
            owner = owner.parts[0]
        if owner.kind == "name" and owner.text in _OWN:
            return bool(_PARTING.search(normalise(call.text)))  # else a layer, as a rule
    return bool(_HANDING.search(normalise(call.text)))


def result_of(closure: Node) -> Node | None:
    """The expression that a closure gives; None where it is a block."""
    body = closure.parts[-1] if closure.kind == "closure" and closure.parts else None
    return None if body is None or body.text == "block" else body
