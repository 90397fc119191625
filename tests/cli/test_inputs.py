"""Which videos a command line names, and what their outputs are called."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path, PurePath

import pytest
from PIL import Image

from autogaze_cli.batch.inputs import files_of, open_inputs
from autogaze_cli.batch.lists import read_list
from autogaze_cli.errors import ConfigError, InputError
from autogaze_cli.trace import is_trace
from tests.cli.conftest import Run


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def stems(*names: str, traces: bool = False) -> list[str]:
    with open_inputs(names, traces=traces) as found:
        return [item.stem.as_posix() for item in found]


def test_a_file_gives_its_name_and_need_not_exist_yet(tmp_path: Path) -> None:
    assert stems(str(tmp_path / "deep" / "clip.final.mp4")) == ["clip.final"]


def test_a_folder_is_searched_for_videos_and_mirrored(tmp_path: Path) -> None:
    tree(tmp_path, "b/x.MKV", "a/y.mp4", "a/notes.txt", "z.webm", "a/y.mask.gif", "a/y.gif.json")
    tree(tmp_path, "autogaze_z_output.gif", "w.gif")
    assert stems(str(tmp_path)) == ["a/y", "b/x", "w", "z"]


def test_a_glob_is_mirrored_below_its_fixed_part(tmp_path: Path) -> None:
    tree(tmp_path, "in/2024/a.mp4", "in/2025/a.mp4", "in/2025/b.mov")
    assert stems(str(tmp_path / "in" / "**" / "*.mp4")) == ["2024/a", "2025/a"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    tree(tmp_path, "clip[1].mp4")
    assert stems(str(tmp_path / "clip[1].mp4")) == ["clip[1]"]


@pytest.mark.parametrize(
    ("pattern", "stem"), [("frame_%04d.png", "frame"), ("%03d.jpg", "shots"), ("a%d-b.png", "a-b")]
)
def test_an_image_pattern_is_one_input(tmp_path: Path, pattern: str, stem: str) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    assert stems(str(folder / pattern)) == [stem]


def test_links_in_a_circle_are_one_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "deep/b.mp4")
    (tmp_path / "deep/again").symlink_to("..")
    assert stems(f"{tmp_path}/**/*.mp4") == ["a", "deep/b"]


def test_a_pipe_is_kept_as_a_file(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"video")
    os.close(theirs)
    with open_inputs([f"/dev/fd/{ours}"]) as (item,):
        assert Path(item.path).read_bytes() == b"video"
        assert item.name == f"/dev/fd/{ours}"
    os.close(ours)


def test_a_list_names_a_video_on_each_line(tmp_path: Path) -> None:
    tree(tmp_path, "set/a.mp4", "set/b.mp4")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two\n\n{tmp_path}/c.mov\n{tmp_path}/set\n")
    assert stems(f"@{listed}") == ["c", "a", "b"]


def test_a_video_named_twice_is_one_input(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b.mp4")
    assert stems(str(tmp_path / "b.mp4"), str(tmp_path)) == ["b", "a"]


@pytest.mark.parametrize("content", [b"\x00video", b"v"])
def test_stdin_is_a_file_while_the_inputs_are_open(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with open_inputs(["-"]) as (item,):
        assert (item.name, item.stem) == ("-", PurePath("stdin"))
        assert Path(item.path).read_bytes() == content
    assert not Path(item.path).exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty name"),
        ("{}/empty", "contains no video files"),
        ("{}/*.mp4", "contains no video files"),
    ],
)
def test_what_yields_no_video_fails_alone(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    tree(tmp_path, "good.mov")
    with open_inputs([name.format(tmp_path), str(tmp_path / "good.mov")]) as (bad, good):
        assert isinstance(bad.problem, InputError)
        assert says in str(bad.problem)
        assert good.problem is None


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the list"):
        stems(f"@{tmp_path}/no.txt")


def test_no_input_at_all() -> None:
    with pytest.raises(InputError, match="no input given"):
        stems()


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", ".autogaze-0123456789abcdef.mp4", ".cache/b.mp4")
    assert stems(str(tmp_path)) == ["a"]


def test_a_folder_may_hold_traces_where_it_holds_no_video(tmp_path: Path) -> None:
    tree(tmp_path, "b/x.trace.npz", "y.trace.json", "y.mask.json", "z.readout.npz")
    assert stems(str(tmp_path), traces=True) == ["b/x.trace", "y.trace"]
    tree(tmp_path, "v.mp4")
    assert stems(str(tmp_path), traces=True) == ["v"]


def test_two_inputs_with_one_output_fail_and_the_rest_does_not(tmp_path: Path) -> None:
    tree(tmp_path, "x.mp4", "x.mov", "y.mp4")
    with open_inputs([str(tmp_path)]) as items:
        problems = [(item.path[-5:], item.problem) for item in items]
    assert [path for path, _ in problems] == ["x.mov", "x.mp4", "y.mp4"]
    assert isinstance(problems[0][1], ConfigError)
    assert "x.mov and" in str(problems[0][1])
    assert "x.mp4 and" in str(problems[1][1])
    assert problems[2][1] is None


def test_lines_of_a_list_are_names_and_not_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "take 1.mp4", "talk [aB3_x].mp4")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/take [12].mp4\n{tmp_path}/talk [aB3_x].mp4\n")
    with open_inputs([f"@{listed}"]) as (missing, there):
        assert missing.path == f"{tmp_path}/take [12].mp4"
        assert there.stem == PurePath("talk [aB3_x]")


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("a.mp4\r\nb.mp4\r\n".encode("utf-16"), ["a.mp4", "b.mp4"]),
        (b"\xfe\xff" + "é.mp4\n".encode("utf-16-be"), ["é.mp4"]),
        (b"\xef\xbb\xbfa.mp4\n", ["a.mp4"]),
        (b"caf\xe9.mp4\n", [os.fsdecode(b"caf\xe9.mp4")]),
        (" a.mp4 \n\u2028b\u0085.mp4\n\n#c\n".encode(), [" a.mp4 ", "\u2028b\u0085.mp4"]),
        (b"a\x0b.mp4\nb\r.mp4", ["a\x0b.mp4", "b\r.mp4"]),
    ],
)
def test_names_in_a_list_are_bytes(tmp_path: Path, data: bytes, names: list[str]) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(data)
    with open_inputs([f"@{listed}"]) as items:
        assert [item.name for item in items] == names


def test_a_bracket_in_what_exists_is_itself(tmp_path: Path) -> None:
    tree(tmp_path, "[2024] trip/a.mp4", "[2024] trip/deep/b.mp4", "shots [v2]/frame_0001.png")
    assert stems(f"{tmp_path}/[[]2024] trip/*.mp4") == ["a"]
    assert stems(f"{tmp_path}/[2024] trip/*.mp4") == ["a"]
    assert stems(f"{tmp_path}/[2024] trip/**/*.mp4") == ["a", "deep/b"]
    with open_inputs([f"{tmp_path}/shots [v2]/frame_%04d.png"]) as (item,):
        assert item.path == f"{tmp_path}/shots [v2]/frame_%04d.png"


def test_still_pictures_and_typescript_are_no_videos_of_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "autogaze_cli")
    tree(tmp_path, "talk.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "talk.webp")
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    red.save(tmp_path / "moving.webp", save_all=True, append_images=[blue])
    (tmp_path / "app.ts").write_text("export const a: number = 1;\n" * 40)
    (tmp_path / "stream.ts").write_bytes((b"\x47" + bytes(187)) * 5)
    assert stems(str(tmp_path)) == ["moving", "stream", "talk"]
    said = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path}/talk.webp: skipped: a still picture" in said
    assert f"{tmp_path}/app.ts: skipped: text, not a transport stream" in said


def test_outputs_stay_inside_their_folder(tmp_path: Path) -> None:
    tree(tmp_path, "..mp4", "...mov")
    assert stems(str(tmp_path / "..mp4")) == ["mp4"]
    assert stems(str(tmp_path / "...mov")) == ["mov"]


def test_the_images_of_a_pattern_are_its_numbers(tmp_path: Path) -> None:
    tree(tmp_path, "frame_0001.png", "frame_0002.png", "frame_thumb.png", "frame_3.png")
    assert [p.name for p in files_of(f"{tmp_path}/frame_%04d.png")] == [
        "frame_0001.png",
        "frame_0002.png",
    ]
    with pytest.raises(FileNotFoundError):
        files_of(f"{tmp_path}/other_%d.png")


def test_a_name_that_no_file_can_have_fails_alone(tmp_path: Path) -> None:
    good = tmp_path / "clip.mp4"
    good.touch()
    names = [str(good), "a" * 5000, "no\0thing.mp4"]
    with open_inputs(names) as inputs:
        assert [item.problem is None for item in inputs] == [True, False, False]
        assert all("is no path" in str(item.problem) for item in inputs[1:])
    assert not is_trace("no\0thing.mp4")


def test_names_and_lists_have_limits(tmp_path: Path) -> None:
    with open_inputs(["a" * 255, "a" * 256, "a/" * 2048, "a/" * 2048 + "a"]) as inputs:
        # What may be a path on some system is for the system to refuse.
        refused = ["is no path" in str(item.problem) for item in inputs]
        assert refused == [False, True, False, True]
        assert [len(item.name) for item in inputs] == [255, 80, 4096, 81]
    names = tmp_path / "names.txt"
    for data, most, unit in ((b"a.mp4\n#", 1 << 26, b" "), (b"a.mp4\n", 1_000_005, b"\n")):
        names.write_bytes(data.ljust(most, unit))
        assert read_list(names) == ["a.mp4"]
        names.write_bytes(data.ljust(most + 1, unit))
        with pytest.raises(InputError, match="over 64 MiB or 1000000 lines"):
            read_list(names)


ADDRESS = "http://host.invalid/clip.mp4"


@pytest.mark.parametrize(
    "words",
    [
        *(["trace", ADDRESS], ["trace", f"@{ADDRESS}"], ["trace", "no.mp4", "-o", ADDRESS]),
        *(["mask", "no.mp4", "--trace", ADDRESS], ["readout", "--trace", ADDRESS]),
        *(["trace", "no.mp4", "--model", ADDRESS], ["encode", "no.mp4", "--encoder", ADDRESS]),
        *(["trace", "no.mp4", "--config", ADDRESS], ["trace", "no.mp4", "--log-file", ADDRESS]),
        *(["audit-readout", ADDRESS], ["audit-readout", ".", "--baseline", ADDRESS]),
        *(["report", ADDRESS], ["bench", "-i", ADDRESS], ["models", "path", ADDRESS]),
    ],
    ids=" ".join,
)
def test_an_address_is_refused_as_it_was_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 2
    assert ADDRESS in result.stderr  # a path would have one slash of it
    assert "http:/h" not in result.output
    assert not any(tmp_path.iterdir())


def test_a_file_may_be_named_like_an_address(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("http:").mkdir()
    Path("http:/clip.mp4").write_bytes(clip.read_bytes())
    words = ("trace", "http://clip.mp4", "--mask-source", "patch-diff", "--frames", 1, "-o", "out")
    assert run(*words).exit_code == 0
    assert Path("out/clip.trace.json").exists()


def test_a_synthetic_clip_is_an_input_like_any_other(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["synthetic:local-motion,size=64x48,frames=4", "synthetic:pan,size=64x48,frames=4"]
    Path("list.txt").write_text("\n".join(names))
    words = ("--mask-source", "patch-diff", "--frames", 3)
    assert run("trace", "@list.txt", clip, *words).exit_code == 0
    made = Path("synthetic-pan-size=64x48-frames=4.trace.json")
    assert json.loads(made.read_text())["source"] == names[1]
    again = run("trace", "@list.txt", clip, *words, "--resume", "--dry-run", "--json")
    assert json.loads(again.stdout)["totals"]["skip"] == 3
    drawn = run("mask", names[1], "--trace", made, "--format", "png")
    assert drawn.exit_code == 0, drawn.stderr
    refused = run("trace", "synthetic:pan,size=9", "--mask-source", "patch-diff")
    assert (refused.exit_code, "'size=9' is not one of" in refused.stderr) == (2, True)


def test_a_picture_is_a_clip_of_as_many_frames_as_are_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (48, 32), "teal").save("still.png")
    words = ("--mask-source", "patch-diff", "--frames", 4)
    assert run("trace", "still.png", *words).exit_code == 0
    drawn = run("mask", "still.png", "--trace", "still.trace.json", "--json")
    assert json.loads(drawn.stdout)["frames"] == 4
    alone = run("mask", "still.png", "--mask-source", "patch-diff", "--json", "--overwrite")
    assert json.loads(alone.stdout)["frames"] == 1


def test_a_list_without_an_end_is_refused(run: Run) -> None:
    done = run("mask", "@/dev/zero")
    assert done.exit_code == 2
    assert "@/dev/zero: the list has over 64 MiB" in done.stderr
