"""The result of a command for one input: its files, their names, and its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "autogaze-manifest.jsonl"
"""The file in an output folder that records finished inputs; see ``docs/batch.md``."""

NAMES = {
    "trace": {"trace": "{stem}.trace.{format}"},
    "mask": {"mask": "{stem}.mask.{format}", "metrics": "{stem}.mask.json"},
    "interframe": {"output": "{stem}.interframe.{format}", "metrics": "{stem}.interframe.json"},
    "encode": {"features": "{stem}.features.safetensors"},
    "readout": {"readout": "{stem}.readout.{format}"},
    "render-assets": {
        "input": "autogaze_{stem}_input.{format}",
        "mask": "autogaze_{stem}_mask.{format}",
        "output": "autogaze_{stem}_output.{format}",
        "metrics": "autogaze_{stem}_metrics.json",
    },
}
"""The files that each command writes: a file name for each role."""

REPORTS = {"render-assets": "autogaze_{stem}_report.html"}
"""The name of a command's page, if it is not ``REPORT``."""

REPORT = "{stem}.report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result for one video.

    Attributes:
        files: Final paths of the files, by role.
        document: The metrics document; for a trace or a readout, a summary of it.
        differences: Differences found by a check, one line each.
        timing: With ``timing``, the milliseconds of each frame; see ``docs/timing_format.md``.
    """

    files: Mapping[str, Path]
    document: Mapping[str, Any]
    differences: tuple[str, ...] = ()
    timing: Sequence[Mapping[str, Any]] = ()


def output_files(command: str, base: Path, format: str, *, report: bool = False) -> dict[str, Path]:
    """The files that a command writes, by role.

    Args:
        command: The command's name.
        base: Folder and stem, such as ``out/clip``.
        format: The suffix of drawn files or of the trace.
        report: Whether to include the page, with the role ``report``.
    """
    names = NAMES[command] | ({"report": REPORTS.get(command, REPORT)} if report else {})
    files = {
        role: base.with_name(name.format(stem=base.name, format=format))
        for role, name in names.items()
    }
    # PNG images are written to a folder.
    return {role: p.with_suffix("") if p.suffix == ".png" else p for role, p in files.items()}
