"""What a manifest says is finished, whose files are whose, and when it refuses to say so."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.manifest import Manifest, ManifestError, described
from autogaze_cli.batch.outputs import PREFIX, Outputs, name_temporaries, remove_stale
from autogaze_cli.batch.result import MANIFEST
from autogaze_cli.errors import InputError, OutputError

SETTINGS = {"fps": 8, "mode": "resize"}


@pytest.fixture
def item(tmp_path: Path) -> Input:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    return Input(name="clip.mp4", path=str(tmp_path / "clip.mp4"), stem=PurePath("clip"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/clip.mask.gif").write_bytes(b"GIF")
    return tmp_path / "out"


def opened(out: Path, command: str = "mask", **changes: Any) -> Manifest:
    sha256 = changes.pop("model_sha256", None)
    return Manifest(out, command, SETTINGS | changes, sha256, write=False)


@pytest.fixture
def done(out: Path, item: Input) -> Iterator[Path]:
    """The output of an input that is finished."""
    gif = out / "clip.mask.gif"
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [gif])
        assert not opened(out).finished(item, [gif])
        manifest.finish(item, [gif], 1.23456)
    yield gif
    lines = [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["run", "started", "finished"]


def test_a_finished_input_is_known_by_all_that_it_depends_on(
    done: Path, out: Path, item: Input
) -> None:
    assert opened(out).finished(item, [done])
    assert not opened(out, fps=9).finished(item, [done])
    assert not opened(out, model_sha256="0" * 64).finished(item, [done])
    assert not opened(out, "interframe").finished(item, [done])
    assert not opened(out).finished(item, [done, out / "clip.mask.json"])
    assert not opened(out).finished(item, [])
    os.utime(item.path, (1, 1))
    assert opened(out).finished(item, [done])
    Path(item.path).write_bytes(b"a v1deo")
    assert not opened(out).finished(item, [done])
    Path(item.path).write_bytes(b"a video")
    done.write_bytes(b"GIG")
    assert not opened(out).finished(item, [done])
    done.unlink()
    assert not opened(out).finished(item, [done])
    done.write_bytes(b"GIF")
    Path(item.path).unlink()
    assert not opened(out).finished(item, [done])


def test_a_line_says_what_its_documentation_says(done: Path, out: Path, item: Input) -> None:
    run, started, finished = map(json.loads, (out / MANIFEST).read_text().splitlines())
    assert (run["command"], run["settings"], run["format_version"]) == ("mask", SETTINGS, 1)
    assert len(run["run"]) == 8
    assert started["outputs"] == ["clip.mask.gif"]
    assert list(started)[:2] == ["event", "run"]
    assert finished["seconds"] == 1.235
    assert (finished["input"], finished["stem"]) == ("clip.mp4", "clip")
    assert finished["bytes"] == 7
    assert finished["sha256"] == hashlib.sha256(b"a video").hexdigest()
    gif = {"path": "clip.mask.gif", "bytes": 3, "sha256": hashlib.sha256(b"GIF").hexdigest()}
    assert finished["outputs"] == [gif]


def test_outputs_of_an_earlier_run_are_its_own_whether_finished_or_not(
    out: Path, item: Input
) -> None:
    gif, other = out / "clip.mask.gif", out / "clip.mask.json"
    assert opened(out).foreign(item, [gif]) == [gif]
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [gif])
    assert opened(out).foreign(item, [gif, other]) == [other]
    assert opened(out, fps=1).foreign(item, [gif]) == []
    assert opened(out, "trace").foreign(item, [gif]) == [gif]
    line = json.loads((out / MANIFEST).read_text().splitlines()[-1])
    for outputs in ({}, {"outputs": None}, {"outputs": 7}):
        (out / MANIFEST).write_text(json.dumps({**line, "outputs": []} | outputs) + "\n")
        assert opened(out).foreign(item, [gif]) == [gif]
    del line["outputs"]
    (out / MANIFEST).write_text(json.dumps(line) + "\n")
    assert opened(out).foreign(item, [gif]) == [gif]


def test_a_failure_is_not_the_end_of_what_was_finished(done: Path, out: Path, item: Input) -> None:
    manifest = out / MANIFEST
    whole = manifest.read_bytes()
    with Manifest(out, "mask", SETTINGS, None) as again:
        again.fail(item, ValueError("no"))
    last = json.loads(manifest.read_text().splitlines()[-1])
    assert (last["event"], last["error"]) == ("failed", "no")
    assert opened(out).finished(item, [done])
    manifest.write_bytes(whole)


@pytest.mark.parametrize("change", ["gone", "longer", "replaced"])
def test_an_input_that_changed_is_not_finished(out: Path, item: Input, change: str) -> None:
    gif, path = out / "clip.mask.gif", Path(item.path)
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [gif])
        if change == "longer":
            path.write_bytes(b"a video and more")
        elif change == "gone":
            path.unlink()
        else:
            (out / "new").write_bytes(b"a video")
            (out / "new").replace(path)
        with pytest.raises(InputError, match=r"clip\.mp4: was changed or moved"):
            manifest.finish(item, [gif], 1)


def test_an_input_that_was_never_started_cannot_be_finished(out: Path, item: Input) -> None:
    with (
        Manifest(out, "mask", SETTINGS, None) as manifest,
        pytest.raises(InputError, match="was changed or moved"),
    ):
        manifest.finish(item, [], 1)


def test_an_output_that_vanished_is_not_finished(out: Path, item: Input) -> None:
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [out / "none.gif"])
        with pytest.raises(OutputError, match=r"none\.gif: was removed while the batch"):
            manifest.finish(item, [out / "none.gif"], 1)


def test_a_manifest_that_was_replaced_is_not_written(out: Path, item: Input) -> None:
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        (out / MANIFEST).unlink()
        with pytest.raises(ManifestError, match="cannot be written: No such file"):
            manifest.start(item, [])
        (out / MANIFEST).write_text("")
        with pytest.raises(ManifestError, match="cannot be written: it was replaced"):
            manifest.start(item, [])
    assert (out / MANIFEST).read_text() == ""


def test_a_name_that_is_no_text_is_recorded(out: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.mp4"))
    path.write_bytes(b"a video")
    item = Input(name=path.name, path=str(path), stem=PurePath(path.stem))
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [])
        manifest.finish(item, [], 1)
    assert (out / MANIFEST).read_bytes().isascii()
    assert opened(out).finished(item, [])


def test_reading_makes_nothing_and_waits_for_nobody(tmp_path: Path, item: Input) -> None:
    out = tmp_path / "none"
    assert not opened(out).finished(item, [])
    assert not out.exists()
    with Manifest(out, "mask", SETTINGS, None):
        size = (out / MANIFEST).stat().st_size
        opened(out).start(item, [])
        opened(out).clean([out])
        assert (out / MANIFEST).stat().st_size == size
        with pytest.raises(OutputError, match="another run is writing to it"):
            Manifest(out, "mask", SETTINGS, None)
    Manifest(out, "mask", SETTINGS, None).__exit__(None, None, None)


def test_lines_that_are_damaged_are_ignored_and_a_torn_one_is_cut(
    done: Path, out: Path, item: Input
) -> None:
    manifest = out / MANIFEST
    whole = manifest.read_bytes()
    manifest.write_bytes(b'{"event": 1}\n[]\nx\n\n' + whole + b'{"event": "fin')
    assert opened(out).finished(item, [done])
    assert manifest.read_bytes().endswith(b'"fin')  # reading changes nothing
    with Manifest(out, "mask", SETTINGS, None) as again:
        assert again.finished(item, [done])
    assert manifest.read_bytes().count(b'"fin') == 1  # that of "finished"
    added = [json.loads(line) for line in manifest.read_bytes().splitlines()[4:]]
    assert [line["event"] for line in added] == ["run", "started", "finished", "run"]
    manifest.write_bytes(whole)


def test_temporary_files_of_known_runs_are_removed(tmp_path: Path, item: Input) -> None:
    out, deep = tmp_path / "out", tmp_path / "out/deep"
    with Manifest(out, "mask", SETTINGS, None) as first:
        pass
    deep.mkdir()
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        mine = [f"{PREFIX}{manifest.run}-x.gif", f"{PREFIX}{first.run}-y"]
        others = [f"{PREFIX}{'0' * 8}-x.gif", f"x{PREFIX}{manifest.run}-x.gif", "clip.gif"]
        for folder in (out, deep):
            (folder / mine[0]).write_text("half")
            (folder / mine[1]).mkdir()
            (folder / mine[1] / "0.png").write_text("half")
            for name in others:
                (folder / name).write_text("keep")
        manifest.clean([deep, tmp_path / "none"])
    for folder in (out, deep):
        assert {path.name for path in folder.iterdir()} - {MANIFEST, "deep"} == set(others)


def test_what_a_later_run_relies_on_is_on_the_disk_before_it_is_said(
    out: Path, item: Input, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(handle: int) -> None:
        assert os.fstat(handle).st_size == (out / MANIFEST).stat().st_size
        synced.append(json.loads((out / MANIFEST).read_text().splitlines()[-1])["event"])

    monkeypatch.setattr(os, "fsync", fsync)
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        manifest.start(item, [])
        manifest.finish(item, [], 1)
        manifest.fail(item, ValueError("no"))
    assert synced == ["run", "started", "finished"]


@pytest.mark.parametrize("room", [0, 5])
def test_a_line_for_which_there_is_no_room_leaves_nothing(
    out: Path, item: Input, room: int
) -> None:
    with Manifest(out, "mask", SETTINGS, None) as manifest:
        before = (out / MANIFEST).read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
        try:
            with pytest.raises(ManifestError, match="cannot be written: ") as caught:
                manifest.start(item, [])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.hint == "free some space, then continue with --resume"
        assert (out / MANIFEST).read_bytes() == before
        (out / MANIFEST).unlink()
        with pytest.raises(ManifestError) as caught:
            manifest.start(item, [])
        assert caught.value.hint == "check the folder, then continue with --resume"


@pytest.mark.parametrize(
    ("error", "says"),
    [(errno.EAGAIN, "another run is writing to it"), (errno.ENOLCK, "cannot be locked: No locks")],
)
def test_a_folder_that_cannot_be_locked(
    out: Path, monkeypatch: pytest.MonkeyPatch, error: int, says: str
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OutputError, match=says):
        Manifest(out, "mask", SETTINGS, None)


def test_a_manifest_is_a_file_like_others_in_a_folder_that_is_made(
    tmp_path: Path, item: Input
) -> None:
    (tmp_path / "usual").touch()
    out = tmp_path / "new/deep"
    clip = Input(name="synthetic:pan", path="synthetic:pan", stem=PurePath("pan"))
    with Manifest(out, "mask", {"b": 1, "a": 2}, None) as manifest:
        manifest.start(clip, [])
        manifest.finish(clip, [], 1)
    assert (out / MANIFEST).stat().st_mode == (tmp_path / "usual").stat().st_mode
    last = json.loads((out / MANIFEST).read_text().splitlines()[-1])
    assert (last["bytes"], last["modified"]) == (0, "1970-01-01T00:00:00+00:00")  # it has no file
    again = Manifest(out, "mask", {"a": 2, "b": 1}, None, write=False)
    assert again.finished(clip, [])


def test_a_folder_is_described_by_names_and_contents(tmp_path: Path) -> None:
    frames = tmp_path / "clip.mask"
    frames.mkdir()
    (frames / "1.png").write_bytes(b"one")
    (frames / "0.png").write_bytes(b"zero")
    names = hashlib.sha256()
    for name, content in ((b"0.png", b"zero"), (b"1.png", b"one")):
        names.update(name + b"\0" + hashlib.sha256(content).digest())
    assert described(tmp_path, frames) == {
        "path": "clip.mask",
        "bytes": 7,
        "sha256": names.hexdigest(),
    }
    (frames / "1.png").rename(frames / "2.png")
    assert described(tmp_path, frames)["sha256"] != names.hexdigest()


def test_files_written_after_a_run_are_not_those_of_a_killed_one(out: Path) -> None:
    """A comparison's tables, for example, while the next run into the folder starts."""
    with Manifest(out, "compare", SETTINGS, None) as manifest:
        name_temporaries(manifest.run)
    with Outputs() as outputs:
        outputs.add(out / "compare.json").write_text("{}")
        with Manifest(out, "compare", SETTINGS, None) as another:
            remove_stale([out])
            another.clean([out])
    assert (out / "compare.json").read_text() == "{}"
