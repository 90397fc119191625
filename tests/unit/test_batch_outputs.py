"""Files of a job appear whole, all together, or not at all."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autogaze_cli.batch.outputs import PREFIX, Difference, Outputs, _is_running
from autogaze_cli.errors import OutputError
from tests.unit.unprivileged import printed_unprivileged

ROOT = Path(__file__).parents[2]


def tree(folder: Path) -> dict[str, str]:
    """Every path below ``folder``; a file with its text, a folder with a slash."""
    return {
        str(path.relative_to(folder)): "/" if path.is_dir() else path.read_text()
        for path in sorted(folder.rglob("*"))
    }


def test_nothing_is_seen_before_the_end_and_all_after(tmp_path: Path) -> None:
    with Outputs() as outputs:
        first = outputs.add(tmp_path / "new" / "deep" / "a.mask.gif")
        second = outputs.add(tmp_path / "b.json")
        assert first.parent == tmp_path / "new" / "deep"
        assert first.name.startswith(PREFIX)
        assert first.suffix == ".gif"
        assert not first.exists()
        first.write_text("one")
        second.write_text("two")
        assert not (tmp_path / "b.json").exists()
    assert tree(tmp_path) == {
        "b.json": "two",
        "new": "/",
        "new/deep": "/",
        "new/deep/a.mask.gif": "one",
    }


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    with Outputs() as outputs:
        outputs.add(tmp_path / "a").write_text("x")
    assert (tmp_path / "a").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_undoes_everything(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    with pytest.raises(error), Outputs(overwrite=True) as outputs:  # noqa: PT012
        outputs.add(tmp_path / "old").write_text("new")
        outputs.add(tmp_path / "made" / "deep" / "b").write_text("b")
        (outputs.add_folder(tmp_path / "frames") / "0.png").write_text("c")
        raise error
    assert tree(tmp_path) == {"old": "old"}


def test_folders_that_others_use_are_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "made" / "a").write_text("a")
        (tmp_path / "made" / "other").write_text("kept")
        raise ValueError("stop")
    assert tree(tmp_path) == {"made": "/", "made/other": "kept"}


def test_existing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_text("old")
    with Outputs() as outputs, pytest.raises(OutputError) as caught:
        outputs.add(path)
    assert caught.value.line() == f"{path}: already exists; give --overwrite to replace it"
    assert tree(tmp_path) == {"a.gif": "old"}
    with Outputs(overwrite=True) as outputs:
        outputs.add(path).write_text("new")
    assert tree(tmp_path) == {"a.gif": "new"}


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="b: already exists"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "a").write_text("a")
        outputs.add(tmp_path / "b").write_text("b")
        (tmp_path / "b").write_text("another's")
    assert tree(tmp_path) == {"b": "another's"}


def test_what_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="b: was registered but never"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "a").write_text("a")
        outputs.add(tmp_path / "b")
    assert tree(tmp_path) == {}


def test_a_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a: its folder was removed while"), Outputs() as outputs:  # noqa: PT012
        outputs.add(tmp_path / "out/a").write_text("a")
        shutil.rmtree(tmp_path / "out")


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with Outputs(overwrite=True) as outputs:
        for name, message in {
            "folder": "folder: is a folder",
            "file/a": "a: cannot be written: Not a directory",
            "file/b/c": "c: cannot be written: Not a directory",
            "dangling": "dangling: is not a regular file",
            "pipe": "pipe: is not a regular file",
            "n" * 300: "cannot be written: File name too long",
        }.items():
            with pytest.raises(OutputError, match=message):
                outputs.add(tmp_path / name)
        with pytest.raises(OutputError, match="/dev/null: is not a regular file"):
            outputs.add("/dev/null")
        with pytest.raises(OutputError, match="cannot be written: "):
            outputs.add("/proc/a.gif")
        outputs.add(tmp_path / "twice").write_text("x")
        with pytest.raises(OutputError, match="twice: would be written twice"):
            outputs.add(tmp_path / "twice")
    assert (tmp_path / "twice").read_text() == "x"


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    imports = """
from autogaze_cli.errors import OutputError
from autogaze_cli.batch.outputs import Outputs
"""
    code = """
try:
    Outputs().add("a.gif")
except OutputError as error:
    print(error.line())
"""
    printed = printed_unprivileged(imports, code, tmp_path)
    tmp_path.chmod(0o755)
    message = "a.gif: cannot be written: Permission denied; choose another --out-dir\n"
    assert printed == message


def test_folders_of_images(tmp_path: Path) -> None:
    frames = tmp_path / "birds.mask"
    for content in ("old", "new"):
        with Outputs(overwrite=True) as outputs:
            folder = outputs.add_folder(frames)
            for name in ("0.png", "1.png") if content == "old" else ("0.png",):
                (folder / name).write_text(content)
    assert tree(tmp_path) == {"birds.mask": "/", "birds.mask/0.png": "new"}
    with Outputs() as outputs, pytest.raises(OutputError, match=r"birds\.mask: already exists"):
        outputs.add_folder(frames)
    (tmp_path / "link").symlink_to(frames)
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    (tmp_path / "other/0.png").write_text("a picture")
    (tmp_path / "deep/0.png").mkdir(parents=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/0.png").symlink_to(frames / "0.png")
    for name in ("link", "file", "other", "deep", "links"):
        with (
            Outputs(overwrite=True) as outputs,
            pytest.raises(OutputError, match=f"{name}: is not a folder of PNG images only"),
        ):
            outputs.add_folder(tmp_path / name)
    assert (tmp_path / "other/notes.txt").read_text() == "mine"
    assert (tmp_path / "link/0.png").read_text() == "new"


def test_check_compares_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "same").write_text("same")
    (tmp_path / "differs").write_text("12345")
    (tmp_path / "changed").write_text("old")
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.png").write_text("0")
    (frames / "1.png").write_text("1")
    before = tree(tmp_path)
    with Outputs(check=True) as outputs:
        outputs.add(tmp_path / "same").write_text("same")
        outputs.add(tmp_path / "differs").write_text("1234")
        changed = outputs.add(tmp_path / "changed")
        changed.write_text("new")
        for path in (changed, tmp_path / "changed"):
            os.utime(path, (1, 1))
        outputs.add(tmp_path / "new" / "missing").write_text("123")
        folder = outputs.add_folder(frames)
        (folder / "0.png").write_text("x")
        (folder / "2.png").write_text("22")
        differences = outputs.compare()
    assert differences == [
        Difference(path=tmp_path / "differs", kind="differs", size_bytes=5, new_size_bytes=4),
        Difference(path=tmp_path / "changed", kind="differs", size_bytes=3, new_size_bytes=3),
        Difference(
            path=tmp_path / "new/missing", kind="missing", size_bytes=None, new_size_bytes=3
        ),
        Difference(path=frames / "0.png", kind="differs", size_bytes=1, new_size_bytes=1),
        Difference(path=frames / "1.png", kind="extra", size_bytes=1, new_size_bytes=None),
        Difference(path=frames / "2.png", kind="missing", size_bytes=None, new_size_bytes=2),
    ]
    assert str(differences[0]) == f"{tmp_path}/differs: differs (5 bytes, now 4)"
    assert str(differences[2]) == f"{tmp_path}/new/missing: missing (3 bytes)"
    assert str(differences[4]) == f"{frames}/1.png: extra (1 bytes)"
    assert tree(tmp_path) == before


_JOB = """
import signal, sys, time
from pathlib import Path
from autogaze_cli.batch.outputs import Outputs

folder = Path(sys.argv[1])
if sys.argv[2] == "as-exception":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
with Outputs(overwrite=True) as outputs:
    outputs.add(folder / "old.gif").write_text("new")
    outputs.add(folder / "made" / "b.gif").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("number", "handling", "code", "left"),
    [
        (signal.SIGINT, "default", -signal.SIGINT, False),
        (signal.SIGTERM, "as-exception", 143, False),
        (signal.SIGTERM, "default", -signal.SIGTERM, True),
        (signal.SIGKILL, "default", -signal.SIGKILL, True),
    ],
)
def test_a_killed_process(
    number: signal.Signals, handling: str, code: int, left: bool, tmp_path: Path
) -> None:
    (tmp_path / "old.gif").write_text("old")
    job = subprocess.Popen(
        [sys.executable, "-c", _JOB, tmp_path, handling],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    with job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        job.send_signal(number)
        assert job.wait(timeout=30) == code
    files = tree(tmp_path)
    assert files.pop("old.gif") == "old"
    if left:
        assert files.pop("made") == "/"
        assert sorted(files.values()) == ["half", "new"]
        assert all(Path(name).name.startswith(PREFIX) for name in files)
    else:
        assert files == {}


def test_a_message_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"clip\.gif: no space") as error, Outputs() as outputs:
        raise OutputError(f"{outputs.add(tmp_path / 'clip.gif')}: no space", hint="make room")
    assert str(error.value) == f"{tmp_path / 'clip.gif'}: no space"


def test_a_process_that_nothing_can_be_asked_about_counts_as_running() -> None:
    assert _is_running(os.getpid())
    assert _is_running(2**70)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not _is_running(ended.pid)
