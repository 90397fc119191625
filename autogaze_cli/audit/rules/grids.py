"""Rules about the vocabulary itself: its tables, its constants, and grids made of it."""

from __future__ import annotations

from collections.abc import Iterator

from autogaze_cli.audit.flow import File
from autogaze_cli.audit.names import SQUARE_ROOTS
from autogaze_cli.audit.nodes import Node, words
from autogaze_cli.audit.operands import operand, operands
from autogaze_cli.audit.rules.rule import LAYOUT_HELPERS, MASK_HELPERS, Hit, Rule
from autogaze_cli.audit.scopes import Scope
from autogaze_cli.audit.tables import COUNT_TABLES, is_table

_WRITING_CALLS = words(
    "scatter scatter_ scatter_add scatter_add_ index_put index_put_ index_fill index_fill_ "
    "put put_ set insert"
)
_ARITHMETIC = ("AGR103", "AGR104", "AGR105", "AGR111", "AGR115", "AGR116", "AGR117")


def square_grid_from_vocabulary(file: File, scope: Scope, _: list[Hit]) -> Iterator[Hit]:
    """The square root of the number of ids of a frame."""
    for node in scope.of("binary", "call"):
        root = _square_root(node)
        if root is not None and file.is_vocab(root, scope):
            yield Hit(
                "AGR108",
                node,
                f"`{file.text(node)}` makes a square grid of the ids of a frame; 265 is not a "
                "square, and a fallback grid misplaces every gaze",
            )


def scale_count_table(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """The cells of each scale as a table, beside other arithmetic on ids."""
    if not any(hit.rule in _ARITHMETIC or hit.rule == "AGR108" for hit in hits):
        return
    tables = [node for node in scope.of("sequence") if is_table(node, COUNT_TABLES)]
    if scope.function is not None:
        used = {node.text for node in scope.of("name", "member")}
        for name in sorted(used & file.tables.keys()):
            tables += [node for node in file.tables[name] if is_table(node, COUNT_TABLES)]
    for node in tables:
        yield Hit(
            "AGR106",
            node,
            f"`{file.text(node)}` is the scale layout of one checkpoint",
        )


def hard_coded_vocabulary(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """A constant for the number of ids of a frame, used for arithmetic on ids."""
    if not any(hit.rule in (*_ARITHMETIC, "AGR108") for hit in hits):
        return
    used = {node.text for node in scope.of("name", "member")}
    for name in sorted(used & file.constants.keys()):
        yield Hit(
            "AGR107",
            file.constants[name],
            f"`{name}` pins the ids of a frame to one configuration",
        )


def id_mask_scatter(file: File, scope: Scope, hits: list[Hit]) -> Iterator[Hit]:
    """A write at an index computed from ids, or at ids forced into a range."""
    values = {hit.node for hit in hits if hit.value and not _is_frame_index(hit)}
    if not any(hit.value for hit in hits) and not scope.clamped:
        return
    halves = {hit.node for hit in hits if hit.value and hit.node.text == "divmod"}
    results = set(scope.clamped)
    for node in scope.of("assign"):
        if len(node.parts) < 2 or node.parts[0].kind not in ("name", "sequence"):
            continue
        if any(below in values or below in halves for below in node.parts[1].walk()):
            names = list(node.parts[0].names())
            pair = node.parts[1].text == "divmod" and len(names) == 2
            results.update(names[1:] if pair and not _makes_cells(node.parts[1], hits) else names)

    def computed(node: Node) -> bool:
        return any(b in values or (b.kind == "name" and b.text in results) for b in node.walk())

    for node in scope.of("assign", "call"):
        if node.kind == "assign":
            target = node.parts[0]
            indices = target.parts[1:] if target.kind == "index" else []
        else:
            writes = node.text in _WRITING_CALLS
            indices = node.parts[1:3] if writes else []
        if any(computed(index) for index in indices):
            yield Hit(
                "AGR112",
                node,
                f"`{file.text(node)}` fills a mask at indices computed from undecoded AutoGaze ids",
            )


def _is_frame_index(hit: Hit) -> bool:
    """Whether a hit gives the number of a frame: a count by frame is no mask."""
    return hit.rule == "AGR104" and (
        hit.node.text in ("/", "//", "divmod") or "div" in hit.node.text.lower()
    )


def _makes_cells(node: Node, hits: list[Hit]) -> bool:
    return any(hit.node is node and hit.rule == "AGR116" for hit in hits)


def _square_root(node: Node) -> Node | None:
    """What a square root is taken of."""
    if node.kind == "binary":
        is_root = node.text == "**" and len(node.parts) == 2 and node.parts[1].number() == 0.5
        return node.parts[0] if is_root else None
    sides = operands(node)
    if node.text in SQUARE_ROOTS and len(sides) == 1:
        return operand(sides[0])
    if node.text in ("pow", "powf", "powi") and len(sides) == 2 and sides[1].number() == 0.5:
        return operand(sides[0])
    return None


RULES = (
    Rule(
        id="AGR108",
        name="square-grid-from-vocabulary",
        level="warning",
        what="The square root of the number of ids of a frame.",
        why=(
            "The multi-scale vocabulary of 265 is not a square: a fallback grid, such as one row "
            "of 265, misplaces every gaze."
        ),
        example="side = int(math.sqrt(tokens_per_frame))",
        better=(
            "from autogaze_cli.readout import SparseReadoutGrid\n\n"
            "grid = SparseReadoutGrid(height=height_px // patch_px, width=width_px // patch_px)"
        ),
        use=("square_from_token_count",),
        advice="take the grid from picture and patch size, or call {}, which fails loudly",
        check=square_grid_from_vocabulary,
    ),
    Rule(
        id="AGR106",
        name="scale-count-table",
        level="warning",
        what=(
            "A literal table 4, 16, 49, 196 (cells of the scales) or 2, 4, 7, 14 (their sides), in "
            "or used by code that other rules object to."
        ),
        why="It repeats the scale layout of one checkpoint; a weaker sign than the offsets.",
        example="COUNTS = [4, 16, 49, 196]",
        better=(
            "from autogaze_cli.readout import generated_frame_readout_rects\n\n"
            "rects = generated_frame_readout_rects(out, config, 0, frame)"
        ),
        use=LAYOUT_HELPERS,
        check=scale_count_table,
    ),
    Rule(
        id="AGR107",
        name="hard-coded-vocabulary",
        level="warning",
        what=(
            "A constant for the number of ids of a frame, bound to 265 or 196 and used where other "
            "rules object. The constant is reported, where it is defined."
        ),
        why="It pins one vocabulary; 196 is right for the single-scale configuration alone.",
        example="TOKENS_PER_FRAME = 265",
        better="count = config.num_vision_tokens_each_frame  # or no count at all",
        use=("num_vision_tokens_each_frame",),
        advice="read {} from the model's config, or call a helper that needs no count",
        check=hard_coded_vocabulary,
    ),
    Rule(
        id="AGR112",
        name="id-mask-scatter",
        level="warning",
        what=(
            "A write through an index that is the result of arithmetic on ids, or an id forced "
            "into a range (`clamp`): `mask[i] = ...`, `scatter_`, `index_put`, `np.put`, "
            "`.set(i, ...)`. A count by frame is none."
        ),
        why="The mask has the shape of a grid, but the ids were never decoded to its cells.",
        example="local = ids - frame * TOKENS_PER_FRAME\nmask[local] = 1",
        better=(
            "from autogaze_cli.readout import fixation_image_mask_tensor\n\n"
            "mask = fixation_image_mask_tensor(1, height_px, width_px, points)"
        ),
        use=MASK_HELPERS,
        check=id_mask_scatter,
    ),
)
