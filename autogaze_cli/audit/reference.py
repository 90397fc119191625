"""The reference tool's own check of one known repository, ``--profile burn-jepa``.

Source: audit spec A.1 to A.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MANIFEST = "Cargo.toml"
BENCH = "benches/autogaze_sparse_jepa_pipeline.rs"

_REQUIRED = (
    (MANIFEST, "burn_autogaze", "the manifest should depend on burn_autogaze"),
    (
        BENCH,
        "generated_to_frame_readout_tokens",
        "the bench should call it for each frame's tokens",
    ),
    (BENCH, "generated_to_video_readout_tokens", "the bench should call it for the context mask"),
    (BENCH, "SparseReadoutGrid", "the bench should use it for the geometry of image tokens"),
    (BENCH, "SparseVideoReadoutGrid", "the bench should use it for the geometry of video tokens"),
    (BENCH, "SparseVideoReadoutOptions", "the bench should use it for tubelets and exact counts"),
)
_FORBIDDEN = (
    ("fn generated_frame_tokens", "the bench decodes generated output itself"),
    ("fn context_mask_from_autogaze_generated", "the bench projects images to video itself"),
    ("raw_token - frame_offset", "the bench subtracts frame offsets from token ids"),
    ("gazing_pos.first()", "the bench indexes gazing_pos"),
)
_SHAPE = (
    "a migrated integration takes frame tokens from generated_to_frame_readout_tokens,",
    "takes the indices of the context mask from generated_to_video_readout_tokens,",
    "and keeps masks, target selection, plan cache and kernel dispatch downstream",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check says.

    Attributes:
        lines: What is missing, then what is still there, in the order of the checks.
        error: Why it failed, or None.
    """

    lines: tuple[str, ...]
    error: str | None


def check(root: Path) -> Verdict:
    """Compare the two files of a checkout with what a migrated one has."""
    texts = {}
    for name in (MANIFEST, BENCH):
        path = root / name
        if not path.is_file():
            return Verdict((), f"expected a burn_jepa checkout with {MANIFEST} and {BENCH}: {root}")
        try:
            texts[name] = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            return Verdict((), f"{path}: cannot be read as text: {error}")
    lines = [f"missing: {n}: {why}" for file, n, why in _REQUIRED if n not in texts[file]]
    lines += [f"still present: {n}: {why}" for n, why in _FORBIDDEN if n in texts[BENCH]]
    return Verdict(tuple(lines), "\n  ".join(("not migrated;", *_SHAPE)) if lines else None)
