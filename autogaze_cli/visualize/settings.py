"""The drawing settings, and the spellings they accept."""

from __future__ import annotations

from dataclasses import dataclass

from autogaze_cli.errors import ConfigError

GEOMETRIES: dict[str, tuple[str, ...]] = {
    "native": ("raw", "upstream", "nvidia", "multiscale", "multi-scale"),
    "deduplicated": (
        "dedup",
        "dedupe",
        "union",
        "union-dedup",
        "union-deduplicated",
        "non-overlap",
        "non-overlapping",
    ),
    "effective": (
        "projected",
        "finest",
        "finest-grid",
        "sparse-footprint",
        "token-footprint",
    ),
}
"""Values of ``mask_geometry`` and the other spellings of each. Source: visualization spec 2."""

MASK_VISUALIZATIONS: dict[str, tuple[str, ...]] = {
    "overlay": ("combined", "union", "native", "native-overlay"),
    "image-overlay": (
        "image",
        "input-overlay",
        "source-overlay",
        "alpha-overlay",
        "alpha-blend-overlay",
    ),
    "image-mask-only": (
        "mask-only",
        "image-mask",
        "masked-image",
        "input-mask-only",
        "source-mask-only",
    ),
    "scale-rows": ("rows", "per-scale", "upstream", "nvidia"),
}
"""Values of ``mask_visualization`` and their other spellings. Source: visualization spec 3."""

VISUALIZATION_MODES: dict[str, tuple[str, ...]] = {
    "full-blend": ("blend", "full", "alphablend", "alpha-blend", "alpha"),
    "interframe": ("inter-frame", "video", "video-encoding", "delta"),
}
"""Values of ``visualization_mode`` and their other spellings. Source: visualization spec 4."""


_MOST = 3e38
"""What float32 holds, as the drawing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visualization:
    """Settings of everything drawn from fixations; names are stored in canonical spelling.

    Attributes:
        mask_geometry: Which cells count: ``native``, ``deduplicated`` or ``effective``.
        mask_visualization: The mask panel: ``overlay``, ``image-overlay``, ``image-mask-only`` or
            ``scale-rows``.
        mask_cell_scale: Factor on the extents of every cell; at most 0 acts as 1e-6.
        blend_alpha: Weight of the colour in the image panels and of white in ``full-blend``;
            clamped to 0..1 where it is used.
        visualization_mode: ``full-blend`` or ``interframe``.
        keyframe_duration: Frames from one keyframe to the next in ``interframe``; 0 = only the
            first frame is one.

    Source: visualization spec 4.1 (defaults).
    """

    mask_geometry: str = "native"
    mask_visualization: str = "image-mask-only"
    mask_cell_scale: float = 1.0
    blend_alpha: float = 0.38
    visualization_mode: str = "full-blend"
    keyframe_duration: int = 30

    def __post_init__(self) -> None:
        """Store canonical names, and refuse invalid values."""
        for name, table in (
            ("mask_geometry", GEOMETRIES),
            ("mask_visualization", MASK_VISUALIZATIONS),
            ("visualization_mode", VISUALIZATION_MODES),
        ):
            object.__setattr__(self, name, canonical_name(name, getattr(self, name), table))
        for name in ("mask_cell_scale", "blend_alpha"):
            if not abs(getattr(self, name)) < _MOST:
                raise ConfigError(f"{name} must be a finite number, not {getattr(self, name)}")
        if self.keyframe_duration < 0:
            raise ConfigError(
                f"keyframe_duration must be at least 0, not {self.keyframe_duration}",
                hint="0 makes only the first frame a keyframe",
            )


def canonical_name(setting: str, value: str, table: dict[str, tuple[str, ...]]) -> str:
    """The canonical spelling of ``value``, surrounding blanks and case ignored.

    Args:
        setting: Name of the setting, for the message.
        value: What the user wrote.
        table: Canonical names and their aliases.

    Raises:
        ConfigError: The table does not have it.

    >>> canonical_name("mask_geometry", " Union-Dedup ", GEOMETRIES)
    'deduplicated'
    """
    wanted = value.strip().lower()
    for name, aliases in table.items():
        if wanted == name or wanted in aliases:
            return name
    raise ConfigError(f"{setting} must be one of {', '.join(table)}, not {value!r}")
