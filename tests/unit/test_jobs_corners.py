"""A saved trace of another video, what a header notes, and calls that are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

import autogaze_cli
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import ConfigError, FormatError, InputError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.jobs.frames import Job, frame_count, gazed_frames, open_job, trace_header
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import probe
from autogaze_cli.trace import Trace

DOG = Path(__file__).parents[2] / "fixtures" / "dog.mp4"
SMALL = Sampling(frames=3, width=64, height=48)


@pytest.fixture(scope="module")
def job() -> Job:
    return open_job(DOG, open_source(GazeSettings(mask_source="patch-diff")), SMALL)


@pytest.fixture(scope="module")
def trace(job: Job) -> Trace:
    return Trace.from_frames(trace_header(job), [gaze for _, gaze in gazed_frames(job)])


def test_a_trace_must_be_of_these_frames(trace: Trace) -> None:
    again = open_job(DOG, trace, SMALL)
    assert len(list(gazed_frames(again))) == 3
    with pytest.raises(InputError, match="it has 2 frames, the trace 3"):
        list(gazed_frames(open_job(DOG, trace, replace(SMALL, frames=2))))
    with pytest.raises(InputError, match="frame 3 is not in the trace"):
        list(gazed_frames(open_job(DOG, trace, replace(SMALL, frames=4))))
    with pytest.raises(InputError, match="frames are 64x48, in the trace 32x48"):
        trace_header(replace(again, gaze=replace(trace, header=replace(trace.header, width=32))))
    with pytest.raises(FormatError, match="fps is '1/1000001', not a fraction above 0"):
        replace(trace.header, fps=Fraction(1, 10**6 + 1))
    slowest = replace(trace, header=replace(trace.header, fps=Fraction(1, 10**6)))
    assert open_job(DOG, slowest, SMALL).fps == Fraction(1, 10**6)


def test_a_trace_notes_what_was_wrong_with_its_video(job: Job) -> None:
    assert {"notes", "missing_bytes"}.isdisjoint(trace_header(job).settings)
    cut = replace(job, info=replace(job.info, notes=("stops early",), missing_bytes=7))
    settings = trace_header(cut).settings
    assert (settings["notes"], settings["missing_bytes"]) == (["stops early"], 7)


def test_how_many_frames_to_expect() -> None:
    info = probe(DOG)
    assert info.frames is not None
    assert frame_count(Sampling(), info) == info.frames
    assert frame_count(Sampling(), replace(info, fps=None)) == info.frames
    assert frame_count(Sampling(frames=2), info) == 2
    assert frame_count(Sampling(start=Fraction(10**6)), info) == 1


def test_a_call_is_of_one_video(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is a setting of run_batch"):
        autogaze_cli.trace_video(DOG, out_dir=tmp_path, workers=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_a_plan_as_data(tmp_path: Path, form: str) -> None:
    words = ["trace", str(DOG), "--mask-source", "patch-diff", "-o", str(tmp_path), "--dry-run"]
    result = CliRunner().invoke(cli, [*words, form])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()] if form == "--jsonl" else []
    if lines:
        assert [line["event"] for line in lines] == ["planned", "ended"]
        assert lines[0]["input"] == str(DOG)
    else:
        document = json.loads(result.stdout)
        assert [item["input"] for item in document["inputs"]] == [str(DOG)]
    assert list(tmp_path.iterdir()) == []


def test_the_options_of_a_command_that_there_is_not() -> None:
    result = CliRunner().invoke(cli, ["config", "show", "trace", "nothing"])
    assert result.exit_code == 2
    assert "there is no command 'trace nothing'" in result.stderr
