"""``autogaze report``: which pages it writes, which it keeps, and what it says of the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from autogaze_cli.cli.main import cli
from autogaze_cli.jobs.folder import read_summary
from tests.cli.conftest import Run

FRAMES = ["--mask-source", "patch-diff", "--frames", "4"]


def embedded(page: Path) -> list[dict[str, Any]]:
    """The frames that a page holds."""
    pattern = '<script type="application/json" class="frame">(.*)</script>'
    return [json.loads(text) for text in re.findall(pattern, page.read_text())]


@pytest.fixture
def out(run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trace of ``square.mp4``, which stands in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(clip, "square.mp4")
    done = run("trace", "square.mp4", *FRAMES, "-o", "out")
    assert done.exit_code == 0, done.output
    return Path("out")


def test_a_trace_gets_a_page_once(run: Run, out: Path) -> None:
    done = run("report", out, "--json")
    page = out / "square.report.html"
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "index": "out/index.html",
        "written": [str(page)],
        "kept": [],
        "failed": [],
    }
    assert done.stderr.splitlines() == [f"wrote {page}", "wrote out/index.html"]
    assert 'href="./square.report.html"' in (out / "index.html").read_text()
    before = page.read_bytes()
    page.write_bytes(before + b"\n")
    assert run("report", out).exit_code == 0
    assert page.read_bytes() == before + b"\n"
    assert run("report", out, "--overwrite").exit_code == 0
    assert page.read_bytes() == before  # the same bytes on every run


def test_numbers_are_those_of_the_settings_drawn_with(run: Run, out: Path) -> None:
    drawn = ["--keyframe-duration", "2", "--mask-geometry", "effective"]
    done = run("interframe", "square.mp4", "--trace", out / "square.trace.json", *drawn, "-o", out)
    assert done.exit_code == 0, done.output
    assert run("report", out).exit_code == 0
    page = out / "square.report.html"
    metrics = json.loads((out / "square.interframe.json").read_text())
    document = read_summary(page)["document"]
    for key in ("average_update_ratio", "average_output_psnr_db", "cell_grid_histogram"):
        assert document[key] == metrics[key], key
    frames = embedded(page)
    assert [frame["keyframe"] for frame in frames] == [True, False, True, False]
    assert frames[-1]["update_ratio_ema"] == metrics["final_update_ratio_ema"]


def test_a_video_that_has_moved_is_found_with_videos(run: Run, out: Path) -> None:
    Path("elsewhere/deep").mkdir(parents=True)
    Path("square.mp4").rename("elsewhere/square.mp4")
    missing = run("report", out)
    assert missing.exit_code == 3
    assert "its video square.mp4 is not found; give its folder with --videos" in missing.stderr
    assert "is not found" in (out / "index.html").read_text()
    assert run("report", out, "--videos", "elsewhere").exit_code == 0
    assert (out / "square.report.html").exists()


@pytest.mark.parametrize("form", ["gif", "mp4", "png"])
def test_pictures_without_a_trace_get_a_page_of_pictures(run: Run, out: Path, form: str) -> None:
    done = run("mask", "square.mp4", *FRAMES, "-o", "plain/sub", "--format", form)
    assert done.exit_code == 0, done.output
    assert run("report", "plain").exit_code == 0
    page = Path("plain/sub/square.report.html")
    frames = embedded(page)
    assert [sorted(frame["pictures"]) for frame in frames] == [["mask"]] * 4
    assert [frame["time"] for frame in frames] == [0, 0.125, 0.25, 0.375]
    assert read_summary(page)["document"]["mask_source"] == "patch-diff"
    # What could only be replaced by less is kept.
    shutil.copyfile(page, "plain/only.report.html")
    again = run("report", "plain", "--overwrite", "--json")
    assert json.loads(again.stdout)["kept"] == ["plain/only.report.html"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.trace.json", "{}"),
        ("bad.trace.npz", "PK nothing"),
        ("bad.mask.gif", "GIF89a"),
    ],
)
def test_one_bad_result_stops_nothing(run: Run, out: Path, name: str, content: str) -> None:
    (out / name).write_text(content)
    done = run("report", out)
    assert done.exit_code == 3
    assert "1 of 2 pages failed" in done.stderr
    assert (out / "square.report.html").exists()
    assert not (out / "bad.report.html").exists()
    assert '<span class="bad">failed</span>' in (out / "index.html").read_text()


def test_the_manifest_gives_seconds_and_failures(run: Run, out: Path) -> None:
    finished = {"event": "finished", "input": "square.mp4", "seconds": 61.5}
    lines = [
        json.dumps(finished | {"outputs": [{"path": "square.trace.json"}]}),
        json.dumps({"event": "failed", "input": "b.mp4", "error": "b.mp4: is no video"}),
        json.dumps({"event": "failed", "input": "c.mp4", "error": "for a while"}),
        json.dumps({"event": "finished", "input": "c.mp4", "outputs": 3}),
        *('{"event": "finished", "input": 3}', "[]", "{", "", '{"event": "failed"}'),
    ]
    (out / "autogaze-manifest.jsonl").write_text("\n".join(lines))
    assert run("report", out).exit_code == 0  # what failed before is not this command's failure
    text = (out / "index.html").read_text()
    assert 'data-value="61.5">61.5</td>' in text
    assert "b.mp4: is no video" in text
    assert "for a while" not in text


def test_what_is_not_ours_stays(run: Run, out: Path) -> None:
    (out / "index.html").write_text("<h1>My own</h1>")
    refused = run("report", out)
    assert refused.exit_code == 2
    assert "out/index.html: was not written by this program" in refused.stderr
    assert (out / "index.html").read_text() == "<h1>My own</h1>"
    assert run("report", out, "--overwrite").exit_code == 0
    assert "My own" not in (out / "index.html").read_text()


def test_a_folder_without_results_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    done = run("report", tmp_path)
    assert done.exit_code == 2
    assert "contains no results; give the --out-dir of a command" in done.stderr


# Visualization spec 7.3: the options of the reference's native and browser viewer.
VIEWER_OPTIONS = """
source image-path mask-source patch-diff-grid patch-diff-threshold model-dir config-url weights-url
load-model warmup-model mode top-k max-gaze-tokens-each-frame limit-generation-budget
tile-batch-size task-loss-requirement disable-task-loss-requirement frames-per-clip streaming-cache
decode-strategy decode-chunk-size max-in-flight inference-width inference-height mask-cell-scale
mask-visualization mask-geometry blend-alpha visualization-mode keyframe-duration display-transfer
tensor-sparse-update-max-rects tensor-sparse-update-max-ratio tensor-full-frame-update-min-ratio
show-fps show-gaze-ratio show-psnr show-task-loss-slider press-esc-to-close
require-hardware-adapter log-pipeline-timing perf-summary-frames
"""


def options(command: click.Command) -> set[str]:
    """All spellings of a command's options, and of its subcommands'."""
    found = {name for parameter in command.params for name in parameter.opts}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= options(below)
    return found


def test_the_parity_page_names_every_viewer_option_and_only_options_that_are() -> None:
    docs = Path(__file__).parents[2] / "docs"
    parity = (docs / "viewer-parity.md").read_text()
    assert [name for name in VIEWER_OPTIONS.split() if name not in parity] == []
    for text in (parity, (docs / "reports.md").read_text()):
        assert set(re.findall(r"`(--[a-z-]+)", text)) <= options(cli)


def test_a_folder_that_cannot_be_listed_is_left_out(run: Run, out: Path) -> None:
    place = os.open(out, os.O_RDONLY)
    for _ in range(20):  # deeper than a path may be long
        os.mkdir("x" * 250, dir_fd=place)
        deeper = os.open("x" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    done = run("report", out)
    assert done.exit_code == 0
    assert "left out: File name too long" in done.stderr
    assert (out / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("source", "x" * 300, "is not found"),
        ("source", "a\0b", "is not found"),
        ("task_loss_requirement", {}, "task_loss_requirement is {}, not a number or null"),
        ("max_gaze_tokens_each_frame", 10**30, "not a number or null"),
    ],
)
def test_a_trace_with_odd_values_stops_nothing(
    run: Run, out: Path, name: str, value: object, says: str
) -> None:
    document = json.loads((out / "square.trace.json").read_text())
    (document if name in document else document["settings"])[name] = value
    (out / "odd.trace.json").write_text(json.dumps(document))
    done = run("report", out)
    assert done.exit_code == 3, done.output
    assert says in done.stderr
    assert "unexpected" not in done.stderr
    assert (out / "square.report.html").exists()
    assert '<span class="bad">failed</span>' in (out / "index.html").read_text()


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "1" * 400])
def test_numbers_that_no_page_can_show_are_left_out(run: Run, out: Path, number: str) -> None:
    run("mask", "square.mp4", *FRAMES, "-o", "drawn")
    metrics = Path("drawn/square.mask.json")
    psnr = json.loads(metrics.read_text())["average_output_psnr_db"]
    metrics.write_text(metrics.read_text().replace(str(psnr), number))
    done = run("report", "drawn")
    assert done.exit_code == 0, done.output
    assert "square.mask.json: left out: not a JSON object of finite numbers" in done.stderr
    document = read_summary(Path("drawn/square.report.html"))["document"]
    assert "average_output_psnr_db" not in document
