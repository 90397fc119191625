"""Where outputs may be, what is left of ended processes, and what names of inputs mean."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path, PurePath

import pytest

from autogaze_cli.batch.inputs import (
    Input,
    file_state,
    files_of,
    is_named_as_trace,
    named_paths,
    open_inputs,
)
from autogaze_cli.batch.lists import read_list
from autogaze_cli.batch.outputs import (
    PREFIX,
    Difference,
    Outputs,
    check_name,
    check_place,
    name_temporaries,
    remove_entry,
    remove_stale,
)
from autogaze_cli.errors import InputError, OutputError
from tests.unit.unprivileged import printed_unprivileged


def this_machine() -> str:
    """Eight digits of a hash of its name and of the namespace of its process ids."""
    name = socket.gethostname()
    if Path("/proc/self/ns/pid").is_symlink():
        name += os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return sha256(name.encode()).hexdigest()[:8]


def test_only_what_ended_processes_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here, there, random = this_machine(), "0" * 8, "f" * 16
    run = "1234abcd"
    left = f"{PREFIX}{run}-{here}-{ended.pid}-{random}"
    kept = [
        f"{PREFIX}{run}-{here}-{os.getpid()}-{random}.gif",
        f"{PREFIX}{run}-{here}-1-{random}.gif",  # somebody else's, which is running
        f"{PREFIX}{run}-{there}-{ended.pid}-{random}.gif",
        f"{PREFIX}{run}-{here}-{ended.pid}-{random[:-1]}.gif",
        f"x{left}.gif",
        "clip.gif",
    ]
    for name in (*kept, left, f"{left}.gif"):
        (tmp_path / name).write_text("half")
    (tmp_path / f"{left}.png").mkdir()
    (tmp_path / f"{left}.png" / "0.png").write_text("half")
    remove_stale([tmp_path / "none", tmp_path])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_temporary_files_tell_their_run_and_process(tmp_path: Path) -> None:
    try:
        name_temporaries("1234abcd")
        with Outputs() as outputs:
            path = outputs.add(tmp_path / "clip.mask.gif")
            path.touch()
            odd = outputs.add(tmp_path / f"clip.{'x' * 15}")
            odd.touch()
            fits = outputs.add(tmp_path / f"clip.{'y' * 14}")
            fits.touch()
    finally:
        name_temporaries("")
    start, random = path.stem.rsplit("-", 1)
    assert start == f"{PREFIX}1234abcd-{this_machine()}-{os.getpid()}"
    assert len(random) == 16
    assert (path.suffix, odd.suffix, fits.suffix) == (".gif", "", "." + "y" * 14)
    with Outputs() as outputs:
        path = outputs.add(tmp_path / "other.gif")
        path.touch()
    assert path.name.startswith(f"{PREFIX}00000000-")


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/0.png").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove_entry(tmp_path / "link")
    remove_entry(tmp_path / "link")  # is gone already
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    remove_entry(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_have_at_most_255_bytes(letter: str, tmp_path: Path) -> None:
    size = len(letter.encode())
    check_name(tmp_path / ("x" * (255 % size) + letter * (255 // size)))
    with pytest.raises(OutputError, match="File name too long") as caught:
        check_name(tmp_path / ("x" * (256 % size) + letter * (256 // size)))
    assert "rename the input" in (caught.value.hint or "")


def test_places_are_inside_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(out)
    (out / "away").symlink_to(tmp_path)
    (out / "back").symlink_to(out / "deep")
    for inside in ("a.gif", "deep/a.gif", "new/er/a.gif", "deep/../a.gif", "back/a.gif"):
        check_place(out / inside, out)
        check_place(tmp_path / "link" / inside, out)
        check_place(out / inside, tmp_path / "link")
    for outside in ("../a.gif", "away/a.gif", "deep/../../a.gif", "back/../../a.gif"):
        with pytest.raises(OutputError, match="would be written outside of"):
            check_place(out / outside, out)
    with pytest.raises(OutputError, match="would be written outside of"):
        check_place(tmp_path / "output/a.gif", out)


def test_differences_in_words() -> None:
    path = Path("a.gif")
    missing = Difference(path=path, kind="missing", size_bytes=None, new_size_bytes=7)
    differs = Difference(path=path, kind="differs", size_bytes=3, new_size_bytes=7)
    extra = Difference(path=path, kind="extra", size_bytes=3, new_size_bytes=None)
    assert [str(one) for one in (missing, differs, extra)] == [
        "a.gif: missing (7 bytes)",
        "a.gif: differs (3 bytes, now 7)",
        "a.gif: extra (3 bytes)",
    ]


def test_an_exception_of_another_file_keeps_its_message(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "a.gif")
        (tmp_path / "elsewhere").read_text()
    with (
        pytest.raises(OutputError, match=r"a\.gif: cannot be written: No such file"),
        Outputs() as o,
    ):
        (o.add(tmp_path / "a.gif") / "x").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_files_that_it_may_concern(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.gif, .*b\.json: cannot be written") as caught:  # noqa: PT012, SIM117
        with Outputs() as outputs:
            outputs.add(tmp_path / "a.gif")
            outputs.add(tmp_path / "b.json")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert "free some space" in (caught.value.hint or "")
    with pytest.raises(OSError, match="Invalid argument"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "a.gif")
        raise OSError(errno.EINVAL, "Invalid argument")


def stems(*names: str) -> list[str]:
    with open_inputs(names) as inputs:
        assert [item.problem for item in inputs] == [None] * len(inputs)
        return [str(item.stem) for item in inputs]


def test_stems(tmp_path: Path) -> None:
    assert stems("a.mp4", "deep/b.c.mkv", ".hidden", "..mp4", "...") == [
        "a",
        "b.c",
        ".hidden",
        "mp4",
        "video",
    ]
    assert stems("shot_%04d.png", "%02d.take.png", f"{tmp_path}/%d.png", "/%d.png") == [
        "shot",
        "take",
        tmp_path.name,
        "frames",
    ]


@pytest.mark.parametrize("form", ["json", "npz", "safetensors", "csv"])
def test_names_of_traces(form: str) -> None:
    assert is_named_as_trace(f"deep/clip.trace.{form}")
    for other in (f"clip.{form}", f"clip.trace.{form}.gz", f"trace.{form}x", "clip.trace.gif"):
        assert not is_named_as_trace(other)


def test_outputs_of_an_earlier_run_are_no_videos_of_a_folder(tmp_path: Path) -> None:
    outputs = ("a.mask.gif", "a.interframe.mp4", "autogaze_a_input.gif", "autogaze_a_mask.gif")
    videos = ("autogaze_a.gif", "a.masks.mp4", "xautogaze_a_mask.gif", "mask.webm", "B.MP4")
    for name in (*outputs, *videos, "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    with open_inputs([str(tmp_path)]) as inputs:
        assert [Path(item.path).name for item in inputs] == sorted(videos)


@pytest.mark.parametrize(
    ("name", "head", "video"),
    [
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x02", True),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x12\0", True),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x10\0", False),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x01", False),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0", False),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x02\0", False),
        ("a.webp", b"not even RIFF, so that the error is told", True),
        ("a.webp", b"GIF89a", True),
        ("a.webp", b"", True),
        ("a.ts", b"export const a = 1;\n", False),
        ("a.ts", b"a", False),
        ("a.ts", b"", True),
        ("a.m2ts", b"G\x40\0\x10\0\0\xb0\r" * 4, True),
        ("a.mp4", b"text, and still named as a video\n", True),
    ],
)
def test_what_a_folder_is_searched_for(name: str, head: bytes, video: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(head)
    (tmp_path / "other.mp4").touch()
    with open_inputs([str(tmp_path)]) as inputs:
        found = {Path(item.path).name for item in inputs}
    assert found == ({name, "other.mp4"} if video else {"other.mp4"})


def test_traces_of_a_folder_are_inputs_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.trace.json").write_text("{}")
    with open_inputs([str(tmp_path)]) as (item,):
        assert "contains no video files" in str(item.problem)
    with open_inputs([str(tmp_path)], traces=True) as (item,):
        assert (item.problem, str(item.stem)) == (None, "a.trace")
    (tmp_path / "a.mp4").touch()
    with open_inputs([str(tmp_path)], traces=True) as (item,):
        assert str(item.stem) == "a"


def test_files_of_an_input(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert files_of("synthetic:pan") == []
    assert files_of(str(clip)) == [clip]
    assert file_state(str(clip)) is None
    clip.write_bytes(b"a")
    before = file_state(str(clip))
    assert before == file_state(str(clip))
    for change in (lambda: clip.write_bytes(b"ab"), lambda: os.utime(clip, (1, 1))):
        change()
        assert file_state(str(clip)) != before
        before = file_state(str(clip))
    with pytest.raises(FileNotFoundError, match="no image matches"):
        files_of(str(tmp_path / "%d.png"))
    for number in (2, 1):
        (tmp_path / f"{number}.png").touch()
    assert [path.name for path in files_of(str(tmp_path / "%d.png"))] == ["1.png", "2.png"]


def test_paths_are_named_by_globs_and_lists_too(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c[1].json"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_bytes(b"one*.json\r\n#two\n\nthree\n")
    names = [f"{tmp_path}/[ab].json", f"{tmp_path}/c[1].json", f"@{tmp_path}/list.txt", "none"]
    assert [path.name for path in named_paths(names)] == [
        "a.json",
        "b.json",
        "c[1].json",
        "one*.json",
        "three",
        "none",
    ]
    with pytest.raises(InputError, match="matches nothing"):
        named_paths([f"{tmp_path}/x*.json"])
    with pytest.raises(InputError):
        named_paths(["https://host.invalid/a.json"])
    (tmp_path / "no.txt").write_bytes(b"a.json\nb\0c\n")
    for name in (f"@{tmp_path}/no.txt", "x" * 256):
        with pytest.raises(InputError, match="is no path"):
            named_paths([name])


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_lists_in_common_encodings(encoding: str, tmp_path: Path) -> None:
    mark = "" if encoding.startswith("utf-8") else "\ufeff"
    (tmp_path / "list.txt").write_bytes(f"{mark}é.mp4\r\n# no\n b \n".encode(encoding))
    assert read_list(tmp_path / "list.txt") == ["é.mp4", " b "]


def test_two_names_of_one_stem_fail_and_name_each_other(tmp_path: Path) -> None:
    with open_inputs(["a.mp4", "b.mp4", "deep/a.mkv"]) as inputs:
        first, good, second = inputs
    assert good == Input(name="b.mp4", path="b.mp4", stem=PurePath("b"))
    assert str(first.problem) == "a.mp4 and deep/a.mkv would both write a.*"
    assert str(second.problem) == "deep/a.mkv and a.mp4 would both write a.*"


def test_a_closed_folder_is_an_input_of_its_own(tmp_path: Path) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").touch()
    (tmp_path / "closed").chmod(0)
    tmp_path.chmod(0o755)
    imports = "from pathlib import Path; from autogaze_cli.batch.places import matches, walk"
    code = 'print(*walk(Path()), matches("*/*"), matches("**"))'
    found = printed_unprivileged(imports, code, tmp_path)
    (tmp_path / "closed").chmod(0o755)
    opened, closed = Path("open/a.mp4"), Path("closed/*")
    deep = [Path(), Path("closed"), Path("open"), opened]
    assert found == f"{[opened]} {[closed]} {[opened]} {deep}\n"
