"""``autogaze view``: who is let in, what is answered, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

from autogaze_cli.inference.pipeline import AutoGazePipeline
from autogaze_cli.jobs.playing import Newest
from autogaze_cli.jobs.viewing import MAX_MESSAGE, Gaze
from tests.cli.conftest import FIXTURES
from tests.cli.serving import serving, start_view

client = pytest.importorskip("websockets.sync.client", reason="needs the extra live")

PATCH_DIFF = {"mask_source": "patch-diff", "patch_diff_grid": 14, "patch_diff_threshold": 0.2}
RESIZE = {"mask_source": "autogaze", "mode": "resize", "horizon_frames": 2, "stride": None}


def pictures(count: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """RGBA frames, each of which differs from the one before in one corner."""
    rgba = np.full((count, height, width, 4), 255, np.uint8)
    rgba[..., :3] = np.random.default_rng(3).integers(0, 256, (height, width, 3))
    rgba[1::2, : height // 4, : width // 4, :3] = 0
    return rgba


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a lossless video, whose frames are those of ``pictures``."""
    folder = tmp_path_factory.mktemp("view")
    with av.open(folder / "clip.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for rgba in pictures(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba[..., :3], format="rgb24")))
        container.mux(stream.encode(None))
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder, "clip.mkv", "--mask-source", "patch-diff") as (printed, _):
        yield printed.partition("#")[0]


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def connected(address: str, origin: str | None = "own", **settings: Any) -> Any:
    """A page's connection."""
    parts = urlsplit(address)
    own = f"http://{parts.netloc}" if origin == "own" else origin
    return client.connect(
        f"ws://{parts.netloc}/gaze?{parts.query}", origin=own, compression=None, **settings
    )


def ask(page: Any, pixels: NDArray[np.uint8] | None = None, **head: Any) -> None:
    page.send(json.dumps(head))
    if pixels is not None:
        page.send(pixels.tobytes())


def frame(page: Any, rgba: NDArray[np.uint8], number: int, **settings: Any) -> dict[str, Any]:
    """The answer to a frame."""
    height, width = rgba.shape[:2]
    ask(page, rgba, type="frame", number=number, width=width, height=height, settings=settings)
    found: dict[str, Any] = json.loads(page.recv())
    return found


def test_only_the_address_with_its_token_is_answered(address: str) -> None:
    without = address.partition("?")[0]
    assert len(urlsplit(address).query) > 30
    assert status(address) == 200
    assert status(without) == 403
    assert status(address[:-1]) == 403
    assert status(f"{address}x") == 403
    assert status(address.replace("/?", "/other?")) == 404
    assert status(address, Host="localhost:1") == 200  # a port that is forwarded
    assert status(address, Host="example.org") == 403
    with urllib.request.urlopen(address) as answer:
        headers, text = answer.headers, answer.read().decode()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = text.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'self'" in policy
    assert urlsplit(address).query.removeprefix("token=") not in text


def test_it_listens_on_loopback_alone(address: str) -> None:
    port = f"{urlsplit(address).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


@pytest.mark.parametrize("origin", [None, "http://example.org", "http://127.0.0.1", "null"])
def test_frames_are_taken_from_the_page_alone(address: str, origin: str | None) -> None:
    with pytest.raises(Exception, match="HTTP 403"), connected(address, origin):
        pass


def test_a_wrong_token_gets_no_connection(address: str) -> None:
    with pytest.raises(Exception, match="HTTP 403"), connected(address[:-2]):
        pass


def test_the_gaze_of_frames_is_that_of_a_pipeline(address: str) -> None:
    rgba = pictures(5)
    pipeline = AutoGazePipeline.from_hf_dir(mask_source="patch-diff", patch_diff_threshold=0.2)
    expected = pipeline.trace_clip(rgba[..., :3])
    with connected(address) as page:
        answers = [frame(page, one, n, **PATCH_DIFF) for n, one in enumerate(rgba)]
        assert [answer["number"] for answer in answers] == [0, 1, 2, 3, 4]
        tokens = [answer["gaze"]["fixations"]["token"] for answer in answers]
        assert tokens == [each.fixations.token.tolist() for each in expected]
        assert any(tokens)
        assert frame(page, rgba[0], 5, **PATCH_DIFF)["gaze"]["num_gazing"] == [0]
        assert frame(page, rgba[1], 6, **PATCH_DIFF)["gaze"]["num_gazing"] != [0]
        ask(page, type="reset")
        assert frame(page, rgba[0], 7, **PATCH_DIFF)["gaze"]["num_gazing"] == [0]


def test_the_input_is_played_at_the_size_asked_for(address: str) -> None:
    with connected(address) as page:
        ask(page, type="play", number=4, width=None, height=None)
        seen, about = [], {}
        while True:
            ask(page, type="next", number=4, settings=PATCH_DIFF)
            about = json.loads(page.recv())
            if about["type"] == "ended":
                break
            seen.append(np.frombuffer(page.recv(), np.uint8).reshape(48, 64, 4))
        assert about == {"type": "ended", "number": 4}
        assert (seen[-1] == pictures(6)[5]).all()  # the newest is never left out
        ask(page, type="play", number=5, width=32, height=None)
        ask(page, type="next", number=5, settings=PATCH_DIFF)
        about = json.loads(page.recv())
        assert (about["width"], about["height"], len(page.recv())) == (32, 24, 32 * 24 * 4)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mask_source": "autogaze"}, "gazes with patch-diff"),
        ({**PATCH_DIFF, "patch_diff_grid": 0}, "patch_diff_grid"),
        ({}, "gazes with patch-diff"),
    ],
)
def test_settings_that_cannot_be_are_told(
    address: str, settings: dict[str, Any], problem: str
) -> None:
    with connected(address) as page:
        answer = frame(page, pictures(1)[0], 1, **settings)
        assert (answer["type"], answer["what"]) == ("failed", "frame")
        assert problem in answer["message"]
        assert frame(page, pictures(1)[0], 2, **PATCH_DIFF)["type"] == "gazed"


def test_too_few_pixels_and_too_many_bytes_are_refused(address: str) -> None:
    with connected(address) as page:
        ask(page, pictures(1), type="frame", number=1, width=65, height=48, settings=PATCH_DIFF)
        assert "12288 bytes are not a frame of 65 x 48" in json.loads(page.recv())["message"]
        page.send(bytes(MAX_MESSAGE + 1))
        with pytest.raises(Exception, match="1009"):
            page.recv()
    assert status(address) == 200


@pytest.mark.parametrize(
    "message", ["no JSON", "[]", '{"type": "other"}', '{"type": "frame"}', b"pixels"]
)
def test_what_no_page_sends_ends_the_connection(address: str, message: str | bytes) -> None:
    with connected(address) as page:
        page.send(message)
        with pytest.raises(Exception, match="1008"):
            page.recv()


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_page_that_does_not_read_costs_no_memory_and_stops_nothing(folder: Path) -> None:
    rgba = pictures(1, 640, 360)[0]
    head = {"type": "frame", "width": 640, "height": 360, "settings": PATCH_DIFF}
    with serving(folder, "--mask-source", "patch-diff") as (address, process):
        with connected(address, max_queue=1, ping_interval=None, close_timeout=0.1) as page:
            for number in range(60):
                ask(page, rgba, number=number, **head)
            before = resident(process.pid)
            for number in range(300):
                ask(page, rgba, number=number, **head)
            assert resident(process.pid) - before < 20e6  # of 276 MB
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
        assert errors.endswith("Error: interrupted; finished files are kept\n")


def test_each_mode_of_a_model_answers_at_once() -> None:
    gaze = Gaze({"autogaze": AutoGazePipeline.from_hf_dir()})
    rgb = pictures(2)[..., :3].copy()
    few = {**RESIZE, "max_gaze_tokens_each_frame": 3, "task_loss_requirement": None}
    for settings in (few, {**few, "mode": "tiled", "tile_size": 48}):
        tiles = 1 if settings["mode"] == "resize" else 2
        for number, one in enumerate(rgb):
            found = gaze.frame(one, settings)
            assert (found.index, found.num_gazing.tolist()) == (number, [3] * tiles)


def test_the_newest_item_replaces_the_one_that_waits() -> None:
    newest: Newest[int] = Newest()
    newest.put(1)
    newest.put(2)
    newest.end(ValueError("broken"))
    assert newest.take() == 2
    with pytest.raises(ValueError, match="broken"):
        newest.take()


def test_it_opens_a_browser(tmp_path: Path) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    process = start_view(tmp_path, "--mask-source", "patch-diff", BROWSER=f"{script} %s")
    try:
        assert process.stdout is not None
        printed = process.stdout.readline()
        for _ in range(100):
            if (tmp_path / "opened").exists() and (tmp_path / "opened").read_text():
                break
            time.sleep(0.1)
        assert (tmp_path / "opened").read_text() == printed
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_without_a_browser(tmp_path: Path) -> None:
    arguments = ["--open", "--mask-source", "patch-diff"]
    process = start_view(tmp_path, *arguments, PATH="", BROWSER="", DISPLAY="")
    assert process.communicate(timeout=60)[1] == (
        "Error: --open: no browser is found here; leave it out and open the printed address "
        "yourself, or set BROWSER\n"
    )
    assert process.returncode == 2


def test_a_port_in_use_and_a_host_that_is_not_here(run: Callable[..., Result]) -> None:
    plain = ("view", "--no-open", "--mask-source", "patch-diff")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run(*plain, "--port", str(port))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: --port {port} is in use; give another one, or none for one that is free\n"
    )
    result = run(*plain, "--host", "192.0.2.1")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: cannot listen at 192.0.2.1, port 0: ")


def test_without_the_extra(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.sync.server", None)
    result = run("view", "--no-open", "--mask-source", "patch-diff")
    assert result.exit_code == 2
    assert "view needs the extra live; pip install 'autogaze-cli[live]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no.mp4"], "no.mp4: no such file or device"),
        ([__file__], "cannot be opened as a video"),
        ([FIXTURES / "dog.mp4", "--start", "60"], "no frame at or after 60 s"),
        ([""], "'': no such file"),
        (["--offline", "rtsp://example.org/door"], "not opened while offline"),
        (["--inference-width", "99999"], "99999"),
    ],
)
def test_an_input_that_cannot_be_there(
    run: Callable[..., Result], arguments: list[object], problem: str
) -> None:
    result = run("view", "--no-open", "--mask-source", "patch-diff", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
