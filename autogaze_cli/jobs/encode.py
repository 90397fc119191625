"""One video to the features of its gazed patches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autogaze_cli.batch.outputs import Outputs
from autogaze_cli.batch.result import Result, output_files
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.jobs.comparison import Clip, Comparison
from autogaze_cli.jobs.frames import Job, OnFrame, Stopwatch, gazed_frames, trace_header
from autogaze_cli.jobs.readout import about
from autogaze_cli.jobs.settings import Encoding
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.player.page import PAGE_VIEW, draw_frames
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader
from autogaze_cli.version import __version__

if TYPE_CHECKING:
    from autogaze_cli.encoders import Encoder, EncoderOutput

TILES = 8
"""Tiles that are encoded densely at once."""


def encode_video(
    job: Job,
    base: Path,
    encoder: Encoder,
    settings: Encoding,
    *,
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
    report: bool = False,
) -> Result:
    """Encode the gazed patches of a video, ``<base>.features.safetensors``.

    Args:
        job: The video and its gaze.
        base: Folder and stem of the file.
        encoder: Encodes clip by clip, each as long as the gaze source's clips.
        settings: Whether to encode everything, and whether to compare with that.
        overwrite: Whether a file that exists is replaced.
        on_frame: Called after each frame.
        report: Write a page too, ``<base>.report.html``, with the figures of the encoder.

    Raises:
        AutogazeError: The video cannot be read, or its gaze does not fit the encoder; nothing has
            been written then.
    """
    from autogaze_cli.encoders.features import FeatureWriter

    files = output_files("encode", base, "safetensors", report=report)
    header, total = trace_header(job), job.total
    described = {**describe(encoder, settings), "tool_version": __version__}
    with about(job.name):
        _check_length(encoder, total)
    clips, tokens, done = _Clips(job, header, settings), 0, 0
    comparison = Comparison(header.tile_count) if settings.compare_dense else None
    if comparison and isinstance(job.gaze, GazeSource):
        _warm_up(job, header, encoder, clips.length)
    gaze: list[FrameTrace] = []
    source = {"source": header.to_mapping(), **described}
    with Outputs(overwrite=overwrite) as outputs:
        with FeatureWriter(outputs.add(files["features"]), source) as writer:
            for clip in clips.read(on_frame):
                with about(job.name):
                    output = encode_clip(encoder, clip, header, settings, comparison)
                writer.append(arrays_of(output, clip, done))
                tokens += len(output.last_hidden_state)
                done += len(clip)
                if report:
                    gaze += [frame for _, frame in clip]
                if on_frame:
                    on_frame(done, total, f"frame {done:02}/{total or '?'}: tokens={tokens}")
        figures = _figures(encoder, header, done, tokens)
        if comparison:
            figures["comparison"] = comparison.document(clips.gaze_s)
        if report:
            _write_page(outputs.add(files["report"]), job, header, gaze, described, figures)
    document = header.to_mapping() | described | {"frames": done} | figures
    document["output_files"] = {role: str(path) for role, path in files.items()}
    return Result(files=files, document=document)


def _figures(encoder: Encoder, header: TraceHeader, frames: int, tokens: int) -> dict[str, Any]:
    places = frames // encoder.network.sizes.tubelet * header.tile_count
    return {"tokens": tokens, "dense_tokens": places * encoder.layout.counts[-1]}


def _write_page(
    path: Path,
    job: Job,
    header: TraceHeader,
    gaze: list[FrameTrace],
    described: dict[str, Any],
    figures: dict[str, Any],
) -> None:
    """Write the page of the video, read once more, so that drawing disturbs no time."""
    encoding = described["encoder"] | figures
    encoding |= encoding.pop("comparison", {})
    if worst := encoding.get("worst_frame"):
        encoding["worst_frame"] = f"{worst['index']} (cosine {worst['cosine_similarity']})"
    traced = replace(job, gaze=Trace.from_frames(header, gaze), timing=None)
    draw_frames(path, header, job.size, PAGE_VIEW, gazed_frames(traced), encoding)


def describe(encoder: Encoder, settings: Encoding) -> dict[str, Any]:
    """The encoder and its settings, as JSON values."""
    sizes = encoder.network.sizes
    return {
        "encoder": {
            "name": encoder.name,
            "sha256": encoder.sha256,
            "family": sizes.family,
            "width": sizes.width,
            "patch_size": sizes.patch,
            "tubelet_size": sizes.tubelet,
            "scales": "+".join(map(str, encoder.layout.scales)),
            "attend": encoder.dense_attend if settings.dense else encoder.attend,
            "dtype": str(encoder.dtype).removeprefix("torch."),
        },
        "dense": settings.dense,
    }


def encode_clip(
    encoder: Encoder,
    clip: Clip,
    header: TraceHeader,
    settings: Encoding,
    comparison: Comparison | None = None,
) -> EncoderOutput:
    """The features of one clip; with a comparison, those of all its patches are computed too."""
    rgb = np.stack([frame.rgb for frame, _ in clip])
    gaze = [trace for _, trace in clip]
    if settings.dense:
        return _dense(encoder, rgb, gaze, header)[0]
    start = encoder.clock()
    patches = encoder.cut_frames(rgb, gaze, header)
    cut = encoder.clock()
    output = encoder.encode(patches)
    if comparison:
        encoded = encoder.clock()
        dense, cut_s, encode_s = _dense(encoder, rgb, gaze, header)
        comparison.add(clip, output, dense, (cut - start, encoded - cut, cut_s, encode_s))
    return output


def arrays_of(output: EncoderOutput, clip: Clip, done: int) -> dict[str, Any]:
    """The arrays of a features file, for one clip that ``done`` frames came before."""
    bins = output.frame_features.shape[1]
    span = len(clip) // bins
    times = np.array([float(frame.time) for frame, _ in clip[::span]])
    coords = output.coords.numpy()
    placed = coords + np.array([0, done // span, 0, 0])
    return {
        "coords": placed,
        "time_s": times[coords[:, 1]],
        "scale": output.scale.numpy(),
        "features": output.last_hidden_state.float().cpu().numpy(),
        "frame_time_s": times,
        "frame_features": output.frame_features.float().cpu().transpose(0, 1).numpy(),
        "clip_features": output.clip_features.float().cpu()[None].numpy(),
    }


def _dense(
    encoder: Encoder, rgb: Any, gaze: Sequence[FrameTrace], header: TraceHeader
) -> tuple[EncoderOutput, float, float]:
    """All patches of the largest scale, as the unmodified model sees them; and the seconds."""
    parts, cut_s, encode_s = [], 0.0, 0.0
    for first in range(0, header.tile_count, TILES):
        tiles = range(first, min(first + TILES, header.tile_count))
        start = encoder.clock()
        patches = encoder.cut_frames(rgb, gaze, header, dense=tiles)
        cut = encoder.clock()
        parts.append(encoder.encode(patches, attend=encoder.dense_attend))
        encode_s += encoder.clock() - cut
        cut_s += cut - start
    return parts[0].joined(parts[1:]), cut_s, encode_s


def _check_length(encoder: Encoder, frames: int | None) -> None:
    """Refuse a video that the encoder's tubelets do not divide, as far as it can be known."""
    span = encoder.network.sizes.tubelet
    if frames is not None and frames % span:
        raise ConfigError(
            f"{frames} frames cannot be cut into the encoder's tubelets of {span}",
            hint=f"give --frames {frames - frames % span}" if frames > span else "give more frames",
        )


class _Clips:
    """The frames of a job with their gaze, in clips.

    Attributes:
        length: Frames of a clip.
        gaze_s: Seconds spent gazing; None where the gaze was made earlier, or is not needed.
    """

    def __init__(self, job: Job, header: TraceHeader, settings: Encoding) -> None:
        self.job, self.header, self.settings = job, header, settings
        own = header.settings.get("clip_len")
        self.length = own if type(own) is int and own > 0 else 16
        gazes = isinstance(job.gaze, GazeSource) and not settings.dense
        self.gaze_s: float | None = 0.0 if gazes else None

    def read(self, on_frame: OnFrame | None) -> Iterator[Clip]:
        """The clips, the last of which may be shorter."""
        decoding = Stopwatch()
        if self.settings.dense and isinstance(self.job.gaze, GazeSource):
            frames = self._without_gaze()
        else:
            frames = gazed_frames(self.job, on_frame, decoding)
        while True:
            start, waited = time.perf_counter(), decoding.seconds
            clip = list(islice(frames, self.length))
            if self.gaze_s is not None:
                self.gaze_s += time.perf_counter() - start - (decoding.seconds - waited)
            if not clip:
                return
            yield clip

    def _without_gaze(self) -> Iterator[tuple[Frame, FrameTrace]]:
        none = np.zeros(self.header.tile_count, np.int32)
        for frame in read_frames(self.job.video, self.job.sampling, require=True):
            yield (
                frame,
                FrameTrace(
                    index=frame.index,
                    time=frame.time,
                    fixations=Fixations.empty(),
                    stop_probability=0.0,
                    num_gazing=none,
                ),
            )


def _warm_up(job: Job, header: TraceHeader, encoder: Encoder, length: int) -> None:
    """Do the first clip once before it is timed: libraries choose their kernels then."""
    assert isinstance(job.gaze, GazeSource)
    frames = list(islice(read_frames(job.video, job.sampling), length))
    clip = list(job.gaze.trace(iter(frames)))
    if len(clip) % encoder.network.sizes.tubelet == 0:
        for _ in range(2):
            encode_clip(encoder, clip, header, Encoding(encoder=""), Comparison(header.tile_count))
