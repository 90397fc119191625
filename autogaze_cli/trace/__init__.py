"""The trace: where a gaze source looked in each frame of a video, as data and as a file."""

from autogaze_cli.trace.data import FrameTrace, Trace
from autogaze_cli.trace.files import FORMATS, is_trace, open_trace_writer, read_trace, write_trace
from autogaze_cli.trace.header import FORMAT, VERSION, TraceHeader
from autogaze_cli.trace.writer import TraceWriter

__all__ = [
    "FORMAT",
    "FORMATS",
    "VERSION",
    "FrameTrace",
    "Trace",
    "TraceHeader",
    "TraceWriter",
    "is_trace",
    "open_trace_writer",
    "read_trace",
    "write_trace",
]
