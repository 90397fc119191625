"""What a command makes of one input: the names of its files, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "autogaze-manifest.jsonl"
"""Says in an output folder what is done: see ``docs/batch.md``."""

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
"""What each command writes: a file name for each role."""

REPORTS = {"render-assets": "autogaze_{stem}_report.html"}
"""The name of a command's page, where it is not ``REPORT``."""

REPORT = "{stem}.report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was made of one video.

    Attributes:
        files: The files by role, in their final places.
        document: The metrics document; of a trace and of a readout, a summary of it.
        differences: What a check found to differ, a line each.
    """

    files: Mapping[str, Path]
    document: Mapping[str, Any]
    differences: tuple[str, ...] = ()


def output_files(command: str, base: Path, format: str, *, report: bool = False) -> dict[str, Path]:
    """The files that a command writes, by role.

    Args:
        command: Its name.
        base: Folder and stem, such as ``out/clip``.
        format: The suffix of what it draws or traces.
        report: Whether there is a page, the role ``report``, too.
    """
    names = NAMES[command] | ({"report": REPORTS.get(command, REPORT)} if report else {})
    files = {
        role: base.with_name(name.format(stem=base.name, format=format))
        for role, name in names.items()
    }
    # PNG images are many: they get a folder.
    return {role: p.with_suffix("") if p.suffix == ".png" else p for role, p in files.items()}
