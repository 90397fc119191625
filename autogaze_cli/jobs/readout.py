"""Writes the readout file of one trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.errors import ConfigError
from autogaze_cli.readout.files import write_readout
from autogaze_cli.readout.make import ReadoutSettings, readout_trace
from autogaze_cli.trace import Trace


@contextmanager
def about(name: str) -> Iterator[None]:
    """Prefix configuration errors with the name of an input."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}", hint=error.hint) from error


def read_out_trace(
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
        name: The trace's name in messages.
        base: Folder and stem of the file.
        settings: What is read out.
        format: One of ``FORMATS``.
        overwrite: Whether an existing file is replaced.

    Raises:
        ConfigError: See ``readout_trace``. Nothing is written then.
        OutputError: The file cannot be written, or already exists.
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
