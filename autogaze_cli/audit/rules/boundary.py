"""Rules that need the whole repository, and those about suppressions."""

from __future__ import annotations

from autogaze_cli.audit.rules.rule import FRAME_HELPERS, VIDEO_HELPERS, Rule

REQUIRED_HELPERS = (
    ("generated_to_frame_readout_tokens", "tokens of each frame"),
    ("generated_to_video_readout_tokens", "the context mask"),
    ("SparseReadoutGrid", "the geometry of image tokens"),
    ("SparseVideoReadoutGrid", "the geometry of video tokens"),
    ("SparseVideoReadoutOptions", "tubelets and exact token counts"),
)
"""What a migrated repository calls, and what for.

Source: audit spec A.2, needles 2 to 6.
"""

MISSING_HELPERS = (
    "reads AutoGaze's output, but nothing here calls a readout helper; missing: "
    + ", ".join(f"{name} ({purpose})" for name, purpose in REQUIRED_HELPERS)
)
MISSING_DEPENDENCY = (
    "reads AutoGaze's output, but no manifest names a package with the readout helpers; add "
    "burn_autogaze (Rust) or autogaze-cli (Python)"
)

_CALL = (
    "from autogaze_cli.readout import generated_to_frame_readout_tokens\n\n"
    "frames = generated_to_frame_readout_tokens(out, config, 0, grid)"
)

RULES = (
    Rule(
        id="AGR201",
        name="no-readout-helper",
        level="warning",
        what=(
            "With `--require-helpers`: a repository that reads the generated output, and calls no "
            "readout helper outside its tests. The first such read is reported."
        ),
        why="The output is consumed without the helpers, so something else must decode it.",
        example='ids = out["gazing_pos"]  # and no call of a readout helper anywhere',
        better=_CALL,
        use=(FRAME_HELPERS[0], VIDEO_HELPERS[0]),
    ),
    Rule(
        id="AGR202",
        name="helper-dependency-missing",
        level="note",
        what="As AGR201, and no manifest of the repository names a package that has the helpers.",
        why="Without the dependency the helpers cannot be called.",
        example='[dependencies]\nburn = "0.19"',
        better='[dependencies]\nburn = "0.19"\nburn_autogaze = "0.21"',
        use=("burn_autogaze", "autogaze-cli"),
    ),
    Rule(
        id="AGR900",
        name="suppression-without-reason",
        level="note",
        what="A comment that suppresses findings and does not say why.",
        why="Nobody can tell later whether it still holds. With an empty list it has no effect.",
        example="local = ids % 265  # autogaze-audit: ignore[AGR104]",
        better="local = ids % 265  # autogaze-audit: ignore[AGR104] checked against the decoder",
        use=(),
    ),
    Rule(
        id="AGR901",
        name="unused-suppression",
        level="note",
        what="A comment that suppresses findings where there is none to suppress.",
        why="It would hide the next finding there without anyone having looked at it.",
        example="count = len(ids)  # autogaze-audit: ignore[AGR104] legacy",
        better="count = len(ids)",
        use=(),
    ),
)
