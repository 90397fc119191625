"""One trace to its readout file: what ``autogaze readout`` does for one input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from autogaze_cli.batch.outputs import Outputs, name_temporaries
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.errors import ConfigError
from autogaze_cli.progress import Advance
from autogaze_cli.readout.files import write_readout
from autogaze_cli.readout.make import ReadoutSettings, first_frames, readout_trace
from autogaze_cli.trace import Trace, read_trace


@contextmanager
def about(name: str) -> Iterator[None]:
    """Put the name of an input before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}", hint=error.hint) from error


def readout_file(
    trace: Trace,
    name: str,
    base: Path,
    settings: ReadoutSettings,
    *,
    format: str = "npz",
    overwrite: bool = False,
) -> Result:
    """Read a trace out into ``<base>.readout.<format>``.

    Args:
        trace: The trace.
        name: How messages call it.
        base: Folder and stem of the file.
        settings: What is read out.
        format: One of ``FORMATS``.
        overwrite: Whether a file that exists is replaced.

    Raises:
        ConfigError: See ``readout_trace``. Nothing has been written then.
        OutputError: The file cannot be written, or exists.
    """
    files = output_files("readout", base, format)
    with Outputs(overwrite=overwrite) as outputs:
        written = outputs.add(files["readout"])
        with about(name):
            readout = readout_trace(trace, settings)
        write_readout(readout, written, format)
    arrays = {name: list(array.shape) for name, array in readout.arrays.items()}
    document = readout.header.to_mapping() | {
        "shapes": arrays,
        "output_files": {role: str(path) for role, path in files.items()},
    }
    return Result(files=files, document=document)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceWork:
    """What ``autogaze readout`` does for each saved trace: work for ``autogaze_cli.batch``.

    Attributes:
        settings: What is read out.
        out_dir: Where the files go.
        format: One of ``FORMATS``.
        frames: How many of a trace's frames are read; None = all.
        run: Names the run's temporary files.
    """

    settings: ReadoutSettings
    out_dir: Path
    format: str
    frames: int | None = None
    run: str = ""

    def of_run(self, run: str) -> Self:
        """The same, with temporary files of that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Nothing needs to be loaded."""
        name_temporaries(self.run)
        return self._one

    def _one(self, task: Task, advance: Advance) -> Result:
        item = task.item
        trace = read_trace(item.path)
        if self.frames is not None:
            with about(item.name):
                trace = first_frames(trace, self.frames)
        result = readout_file(
            trace,
            item.name,
            Path(self.out_dir, item.stem),
            self.settings,
            format=self.format,
            overwrite=task.overwrite,
        )
        advance(len(trace), len(trace))
        return result
