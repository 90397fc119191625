"""Rules about whole functions: decoders, projections, and what they forget."""

from __future__ import annotations

from collections.abc import Iterator

from autogaze_cli.audit.flow import File, is_clamp
from autogaze_cli.audit.names import LEGACY_DECODER, LEGACY_MASK, normalise
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.operands import comparison
from autogaze_cli.audit.rules.rule import FRAME_HELPERS, VIDEO_HELPERS, Hit, Rule
from autogaze_cli.audit.scopes import Scope

_FIRST_CALLS = frozenset(["first", "front"])
_FIRST_AT = frozenset(["at", "get"])
_ON_IDS = ("AGR103", "AGR104", "AGR105", "AGR111", "AGR115", "AGR116", "AGR117")
_OUTPUT_PARAMETERS = frozenset(["generated", "gaze_outputs"])


def local_decoder(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """A function that decodes ids, or has the name of one that did."""
    arithmetic = sorted((h for h in hits if _is_decoding(h)), key=lambda hit: hit.node.start)
    decodes = bool(arithmetic and scope.accesses and (scope.pads or scope.counts))
    named = normalise(scope.name) in LEGACY_DECODER and not delegates(file, scope, hits)
    if not decodes and not named:
        return
    related = [(node, "reads the ids") for node in scope.accesses[:1]]
    related += [(node, "walks the frames") for node in scope.counts[:1]]
    related += [(hit.node, "computes with an id") for hit in arithmetic]
    node = place(scope, scope.accesses)
    yield Hit(
        "AGR101",
        node,
        f"`{scope.label}` decodes AutoGaze ids itself, a second copy that drifts from the scale "
        "layout, padding and range rules",
        related=[(other, what) for other, what in related if other is not node],
    )


def local_mask_projection(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """A function with the name of the known projection; others need the whole repository."""
    if scope.function is None or normalise(scope.name) not in LEGACY_MASK:
        return
    if not delegates(file, scope, hits):
        yield mask_projection(scope)


def mask_projection(scope: Scope) -> Hit:
    """The finding that a function projects a mask by itself."""
    return Hit(
        "AGR102",
        place(scope, []),
        f"`{scope.label}` is a private image-to-video projection on top of a private decoder",
    )


def padding_ignored(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """Arithmetic on ids in a function that never looks at the padding flags."""
    arithmetic = [hit for hit in hits if hit.by_id and hit.rule in _ON_IDS]
    arithmetic.sort(key=lambda hit: hit.node.start)
    if not arithmetic or file.knows_padding(scope) or (scope.passed and not scope.accesses):
        return
    yield Hit(
        "AGR109",
        place(scope, [hit.node for hit in arithmetic]),
        f"`{scope.label}` computes with AutoGaze ids and never reads if_padded_gazing; padded "
        "slots look like the next frame's first cell",
        related=[(hit.node, "computes with an id") for hit in arithmetic],
    )


def first_row_only(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """The first batch row alone, in a function that computes with ids."""
    if not any(hit.by_id for hit in hits) or _is_guarded(file, scope):
        return
    for node in scope.of("index", "call"):
        owner = _first_of(node)
        if owner is not None and owner.kind in ("name", "member") and file.names.is_ids(owner.text):
            yield Hit(
                "AGR110",
                node,
                f"`{file.text(node)}` takes the first batch row; all others vanish without a "
                "message",
            )


def _is_guarded(file: File, scope: Scope) -> bool:
    """Whether the function makes sure that there is one row: ``if len(ids) != 1: raise``."""
    for node in scope.of("compare", "call"):
        sides = comparison(node)
        if sides is not None and sides[1] in ("==", "!=", ">", "===", "!==", "<="):
            for one, other in ((sides[0], sides[2]), (sides[2], sides[0])):
                if file.number(other, scope) == 1 and any(
                    below.kind in ("name", "member") and file.names.is_ids(below.text)
                    for below in one.walk()
                ):
                    return True
    return False


def vocabulary_in_signature(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """A function that takes the generated output and the number of ids of a frame."""
    if scope.function is None or not takes_output(scope):
        return
    for parameter in scope.parameters():
        for name in parameter.names:
            if file.names.is_vocab(name):
                yield Hit(
                    "AGR114",
                    place(scope, []),
                    f"`{scope.label}` takes the generated output and `{name}`: a decoder by its "
                    "signature",
                )
                return


def delegates(file: File, scope: Scope, hits: list[Hit]) -> bool:
    """Whether a function only calls a helper."""
    helper = any(file.names.is_helper(node.text) for node in scope.of("name", "member"))
    return helper and not any(_is_decoding(hit) for hit in hits)


def takes_output(scope: Scope) -> bool:
    """Whether a parameter is the generated output, by its type or its name."""
    return any(
        "AutoGazeGenerateOutput" in parameter.type
        or any(normalise(name) in _OUTPUT_PARAMETERS for name in parameter.names)
        for parameter in scope.parameters()
    )


def place(scope: Scope, otherwise: list[Node]) -> Node:
    """Where a finding about a whole scope points: its name, or the first of ``otherwise``."""
    if scope.function is not None:
        return scope.function
    return min(otherwise, key=lambda node: node.start) if otherwise else scope.nodes[0]


def _is_decoding(hit: Hit) -> bool:
    if hit.rule in ("AGR105", "AGR115"):
        return hit.value and hit.by_id
    if hit.rule == "AGR111" and is_clamp(hit.node):
        return False
    return hit.rule in ("AGR103", "AGR104", "AGR111", "AGR116", "AGR117")


def _first_of(node: Node) -> Node | None:
    """What ``node`` takes the first row of."""
    if node.kind == "index":
        if len(node.parts) < 2 or node.parts[1].number() != 0:
            return None
        return node.parts[0]
    callee, arguments = node.parts[0], node.parts[1:]
    if callee.kind != "member" or not callee.parts:
        return None
    first = node.text in _FIRST_CALLS and not arguments
    at = node.text in _FIRST_AT and len(arguments) == 1 and arguments[0].number() == 0
    return callee.parts[0] if first or at else None


_FRAMES = (
    "from autogaze_cli.readout import generated_to_frame_readout_tokens\n\n"
    "frames = generated_to_frame_readout_tokens(out, config, 0, grid)"
)
_VIDEO = (
    "from autogaze_cli.readout import generated_to_video_readout_tokens\n\n"
    "tokens = generated_to_video_readout_tokens(out, config, 0, image_grid, video_grid)"
)

RULES = (
    Rule(
        id="AGR101",
        name="local-decoder",
        level="error",
        what=(
            "A function named `generated_frame_tokens`, or one that reads the ids, reads the "
            "padding flags or the counts of the frames, and computes with an id. One that only "
            "calls a helper is left alone, whatever its name."
        ),
        why="A second copy of the decoder drifts from the scale layout, padding and range rules.",
        example=(
            "def frame_tokens(out, frame):\n"
            "    for raw, padded in zip(out.gazing_pos[0], out.if_padded_gazing[0]):\n"
            "        if not padded:\n"
            "            yield raw - frame * TOKENS_PER_FRAME"
        ),
        better=_FRAMES,
        use=FRAME_HELPERS,
        check=local_decoder,
    ),
    Rule(
        id="AGR102",
        name="local-mask-projection",
        level="error",
        what=(
            "A function named `context_mask_from_autogaze_generated`, or one with `mask` in its "
            "name that takes the generated output and calls a local decoder of the repository."
        ),
        why="It is a private image-to-video projection on top of a private decoder.",
        example=(
            "def context_mask(generated, grid):\n"
            "    return mask_from_tokens(grid, local_frame_tokens(generated))"
        ),
        better=_VIDEO,
        use=(*VIDEO_HELPERS, "video_readout_tokens", "video_readout_coords"),
        check=local_mask_projection,
    ),
    Rule(
        id="AGR109",
        name="padding-ignored",
        level="warning",
        what=(
            "A function that computes with ids and never reads the padding flags, under any name, "
            "and whose callers in the file do not either."
        ),
        why="Padded slots carry ids that look like the next frame's first cell.",
        example='def split_ids(out):\n    return out["gazing_pos"] % 265',
        better=_FRAMES,
        use=FRAME_HELPERS,
        check=padding_ignored,
    ),
    Rule(
        id="AGR110",
        name="first-row-only",
        level="warning",
        what=(
            "`[0]`, `.first()`, `.front()` or `.at(0)` directly on the ids, in a function that "
            "computes with them and does not make sure that there is one row."
        ),
        why="All other batch rows vanish without a message.",
        example='ids = out["gazing_pos"][0]',
        better=_FRAMES,
        use=("generated_to_frame_readout_tokens(batch_index=...)",),
        advice="call a helper with batch_index, or the batched form",
        check=first_row_only,
    ),
    Rule(
        id="AGR114",
        name="vocabulary-in-signature",
        level="note",
        what="A function that takes the generated output and the number of ids of a frame.",
        why="It is a decoder by its signature, even where the arithmetic is elsewhere.",
        example="def frame_tokens(generated: AutoGazeGenerateOutput, tokens_per_frame: int): ...",
        better=_FRAMES,
        use=FRAME_HELPERS,
        advice="pass the model's config to {} instead",
        check=vocabulary_in_signature,
    ),
)
