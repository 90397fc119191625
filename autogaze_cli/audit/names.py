"""Which identifiers mean something: ids, padding, counts, the vocabulary, the helpers.

Source: audit spec B.6.
"""

from __future__ import annotations

# autogaze-audit: ignore-file[AGR1] the numbers that are looked for
import re
from dataclasses import dataclass
from functools import lru_cache

from autogaze_cli.audit.nodes import words

IDS = words("gazing_pos gazing_positions gaze_pos gaze_pos_ids gazing_ids gaze_ids gaze_token_ids")
PAD = frozenset(["if_padded_gazing", "is_padded_gazing", "padded_gazing"])
COUNT = frozenset(["num_gazing_each_frame"])
FRAME = words(
    "frame frame_i frame_id frame_idx frame_index frame_no fi f_idx t ti t_idx time_idx step"
)
RAW = words("raw_token raw_id gaze_id gaze_token global_id token_id")
LEGACY_DECODER = frozenset(["generated_frame_tokens"])
LEGACY_MASK = frozenset(["context_mask_from_autogaze_generated"])
LEGACY = LEGACY_DECODER | LEGACY_MASK
VOCABULARY_SIZES = frozenset([265.0, 196.0])
"""Ids a frame has in the published multi-scale and the single-scale configuration."""

SIDES = frozenset([2.0, 4.0, 7.0, 14.0, 16.0, 28.0, 32.0])
"""Cells along a side of a scale, in the published configuration and in larger ones."""

SCALE_OFFSETS = frozenset([4.0, 20.0, 69.0, 265.0])
"""First local id of each scale after the first, and the end of the last one."""

_VOCAB = re.compile(
    r"(?:tokens_per_frame|tokens_each_frame|token_per_frame"
    r"|connector_tokens|vision_tokens|frame_vocab|frame_vocab_size|vocab_per_frame)$"
)
_PER_FRAME = re.compile(r"(?:per|each)_frame$")
_VIEWS = re.compile(r"_(?:tiles?|thumbnails?)$")
"""What NVIDIA's video processor adds to the names of the output, for each size of picture."""

_FIELD = re.compile(
    r"_(gazing_pos|gazing_positions|gazing_ids|if_padded_gazing|num_gazing_each_frame)$"
)
_TOTAL = re.compile(
    r"(?:^|_)(?:total|num|n)_(?:vision_)?(?:patches|tokens|cells|positions)$"
    r"|^(?:frame_)?vocab(?:ulary)?(?:_size)?$|_per_(?:image|tile)$"
)
_START = re.compile(
    r"(?:^|_)(?:starts?|begins?|from|offsets?|bases?|firsts?|origins?|lo|low|lows|lower|cum|cumulative"
    r"|bounds?|boundar(?:y|ies)|edges?|splits?|prefix(?:es)?|cursor|running|consumed|acc)$"
    r"|^(?:first|start|begin|offset|base)_|_(?:first|start|begin|offset|base)_"
)
_END = re.compile(r"(?:^|_)(?:ends?|stops?|hi|high|highs|upper|limits?|last|until)$")
_SIDE = re.compile(
    r"(?:^|_)(?:sides?|grids?|widths?|w|cols?|columns|rows|edge|row_len|per_row|per_side|dim"
    r"|stride|pitch|size|sz|g|k|n|s)$|^(?:side|grid|width|cols?)_|(?:grid|patch)_?(?:w|width|size)$"
)
_PADDED = re.compile(
    r"(?:^|_)(?:pad|pads|padded|padding|valid|keep|kept|alive|live|real|skip)(?:_|$)"
)
_PICKING = re.compile(
    r"(?:^|_)(?:get|pick|fetch|load|take|pop|read|select|row|rows|field|column|tensor|value|lookup"
    r"|ids|positions|unpack|extract|array|item|index|gather)(?:_|$)"
)
_READOUT = re.compile(
    r"readout.*(?:token|rect|point|coord|grid)|(?:token|rect|point|coord|grid).*readout"
)
_HELPERS = re.compile(
    r"scale_token_(?:masks|layouts)$|^generated_to_|^trace_from_generated$|^gazing_info$"
    r"|^fixation_image_mask_tensor$|^frame_fixation_masks_tensor$|^apply_image_mask$"
    r"|^image_pyramid_masks$|^tokenize_masked_image_pyramid$|^sparsify_image_pyramid_tokens$"
    r"|^generated_(?:frame|row|clip)?_?fixations?(?:_points)?$|^(?:read|write)_readout$"
    r"|^readout_trace$|^project_readout$"
)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_EVIDENCE = re.compile(r"autogaze|auto_gaze|(?<![a-z])gazing")

DIVISIONS = frozenset(["/", "//", "%"])
DIVIDING_CALLS = words(
    "divmod floor_divide remainder mod fmod true_divide div div_euclid rem_euclid div_floor "
    "floordiv checked_div checked_rem checked_div_euclid checked_rem_euclid wrapping_rem "
    "div_ceil next_multiple_of div_scalar remainder_scalar"
)
SUBTRACTING_CALLS = words(
    "sub subtract saturating_sub checked_sub wrapping_sub overflowing_sub sub_scalar"
)
ADDING_CALLS = words("add saturating_add checked_add wrapping_add overflowing_add add_scalar plus")
NEGATING_CALLS = words("neg negative wrapping_neg checked_neg")
COMPARING_CALLS = {
    "lt": "<",
    "less": "<",
    "lower": "<",
    "lower_elem": "<",
    "le": "<=",
    "less_equal": "<=",
    "lower_equal_elem": "<=",
    "ge": ">=",
    "greater_equal": ">=",
    "greater_equal_elem": ">=",
    "gt": ">",
    "greater": ">",
    "greater_elem": ">",
}
"""Calls that compare, and the operator they stand for; all these calls as ``normalise`` has them,
which takes PyTorch's in-place forms (``sub_``) for the plain ones."""

_cached = lru_cache(maxsize=65536)

SQUARE_ROOTS = frozenset(["sqrt", "isqrt", "sqrtf", "sqrtl"])


@_cached
def normalise(name: str) -> str:
    """One spelling for every case style.

    >>> [normalise(name) for name in ("gazingPos", "GazingPos", "GAZING_POS", "kTokensPerFrame_")]
    ['gazing_pos', 'gazing_pos', 'gazing_pos', 'tokens_per_frame']
    """
    words = [part.lower() for part in _PARTS.findall(name)]
    while len(words) > 1 and words[0] in ("k", "m"):
        words = words[1:]
    return "_".join(words)


@_cached
def is_evidence(word: str) -> bool:
    """Whether an identifier or an imported path says that a file has to do with AutoGaze.

    >>> [is_evidence(word) for word in ("burn_autogaze", "IfPaddedGazing", "stargazing")]
    [True, True, False]
    """
    name = normalise(word)
    squeezed = word.lower().replace("-", "_")
    return bool(_EVIDENCE.search(name) or "autogaze" in squeezed or "auto_gaze" in squeezed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The classes of names, with what a project adds to them.

    Attributes:
        extra_vocab_names: More names of the vocabulary, in any case style.
        extra_id_names: More names of id lists.
        extra_helper_names: More functions that decode for their caller.
    """

    extra_vocab_names: tuple[str, ...] = ()
    extra_id_names: tuple[str, ...] = ()
    extra_helper_names: tuple[str, ...] = ()

    def added(self) -> tuple[str, ...]:
        """What a project adds."""
        return (*self.extra_vocab_names, *self.extra_id_names, *self.extra_helper_names)

    def is_ids(self, name: str) -> bool:
        """A list of generated ids."""
        return _output_name(name) in IDS or _among(name, self.extra_id_names)

    def is_vocab(self, name: str) -> bool:
        """The number of ids a frame has."""
        return _is_vocab(name) or _among(name, self.extra_vocab_names)

    def is_per_frame(self, name: str) -> bool:
        """A number for each frame: the vocabulary, when an id is divided by it."""
        word = normalise(name)
        if word in COUNT or word.startswith(("max_", "min_")) or "gazing" in word:
            return False
        return bool(_PER_FRAME.search(word))

    def is_total(self, name: str) -> bool:
        """A number of patches: the vocabulary, when an id is divided by it."""
        return bool(_TOTAL.search(normalise(name)))

    def is_helper(self, name: str) -> bool:
        """A function that decodes for its caller."""
        return _is_helper(name) or _among(name, self.extra_helper_names)


@_cached
def _is_helper(name: str) -> bool:
    word = normalise(name)
    return bool(_READOUT.search(word) or _HELPERS.search(word))


@_cached
def _is_vocab(name: str) -> bool:
    word = normalise(name)
    if word in COUNT or word.startswith(("max_", "min_")):
        return False  # a budget is not a vocabulary
    return bool(_VOCAB.search(word))


def _among(name: str, extra: tuple[str, ...]) -> bool:
    return bool(extra) and normalise(name) in {normalise(other) for other in extra}


@_cached
def _output_name(name: str) -> str:
    """The field of the output that a name is of: ``history_gazing_pos_tiles`` is of the ids."""
    word = _VIEWS.sub("", normalise(name))
    field = _FIELD.search(word)
    return field[1] if field is not None else word


@_cached
def is_accessor(name: str) -> bool:
    """Whether a call of this name gives ids: ``out.gazing_pos()``, ``out.GetGazingPos()``.

    >>> [is_accessor(name) for name in ("GetGazingPos", "gazing_pos", "mask_of_gazing_pos")]
    [True, True, False]
    """
    return normalise(name).removeprefix("get_") in IDS


@_cached
def is_pad(name: str) -> bool:
    """The flags of slots that hold no gaze."""
    return _output_name(name) in PAD


@_cached
def is_count(name: str) -> bool:
    """The number of slots of each frame."""
    return _output_name(name) in COUNT


@_cached
def is_start(name: str) -> bool:
    """The first id of a scale."""
    return bool(_START.search(normalise(name)))


@_cached
def is_end(name: str) -> bool:
    """The end of a scale."""
    return bool(_END.search(normalise(name)))


@_cached
def is_side(name: str) -> bool:
    """The cells along a side of a grid."""
    return bool(_SIDE.search(normalise(name)))


@_cached
def is_padding(name: str) -> bool:
    """Something that tells padded slots from others, under any name."""
    return bool(_PADDED.search(normalise(name)))


@_cached
def is_picking(name: str) -> bool:
    """A function that gives the field whose name it is given.

    >>> [is_picking(name) for name in ("pick", "get_tensor", "print", "log_field_names")]
    [True, True, False, True]
    """
    return bool(_PICKING.search(normalise(name)))


@_cached
def is_frame(name: str) -> bool:
    """The index of a frame."""
    return normalise(name) in FRAME
