"""Which videos a command line names, and what their outputs are called."""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePath

import pytest

from autogaze_cli.batch.inputs import Input, open_inputs, refuse_collisions
from autogaze_cli.errors import ConfigError, InputError


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


def test_stdin_is_a_file_while_the_inputs_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\x00video")))
    with open_inputs(["-"]) as (item,):
        assert (item.name, item.stem) == ("-", PurePath("stdin"))
        assert Path(item.path).read_bytes() == b"\x00video"
    assert not Path(item.path).exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty name"),
        ("{}/empty", "holds no video"),
        ("{}/*.mp4", "holds no video"),
        ("@{}/no.txt", "cannot read"),
    ],
)
def test_what_yields_no_video_is_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=says):
        stems(name.format(tmp_path))


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


def test_two_inputs_with_one_output_are_refused_by_name() -> None:
    a = Input(name="one/x.mp4", path="one/x.mp4", stem=PurePath("x"))
    b = Input(name="two/x.mov", path="two/x.mov", stem=PurePath("x"))
    with pytest.raises(ConfigError, match=r"one/x\.mp4 and two/x\.mov"):
        refuse_collisions([a, b])
