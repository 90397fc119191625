"""``autogaze models``, the default model, and what touches the network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import Result

from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.jobs import request as request_of
from autogaze_cli.jobs.values import Values
from autogaze_cli.model import catalog

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "parity-tiny"
SHA256 = "5682b51d64fece9eccb16ab7689c71bee4cde4d576afa68464f3774aa015b5b6"
HUB_ID = "owner/AutoGaze-small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def add_model(models: Path) -> None:
    """Bundle the tiny model as ``stand-in``, the default."""
    models.mkdir(exist_ok=True)
    shutil.copytree(TINY, models / "stand-in")
    entry = {"name": "stand-in", "sha256": SHA256, "licence": "Apache-2.0", "summary": "random"}
    entry["bytes"] = (TINY / "model.safetensors").stat().st_size  # type: ignore[assignment]
    (models / "models.json").write_text(json.dumps({"default": "stand-in", "models": [entry]}))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that has the tiny model as its bundled default."""
    place = tmp_path_factory.mktemp("package")
    for folder in ("autogaze_cli", "commands"):
        without = shutil.ignore_patterns("__pycache__", "models" if folder != "commands" else "")
        shutil.copytree(ROOT / folder, place / folder, ignore=without)
    add_model(place / "autogaze_cli" / "models")
    return place


def autogaze(place: Path, *arguments: object, **environment: str) -> Any:
    """Run the command line of the package at ``place`` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "autogaze_cli", *map(str, arguments)],
        env=os.environ
        | {"PYTHONPATH": f"{place}:{os.environ.get('PYTHONPATH', '')}"}
        | environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


def values(*arguments: str) -> Values:
    import click

    from autogaze_cli.cli.main import cli

    found = cli.get_command(click.Context(cli), "trace")
    assert found is not None
    return cast("Values", found.make_context("trace", list(arguments)).params)


def test_the_default_runs_unless_something_else_is_asked_for(tmp_path: Path) -> None:
    add_model(tmp_path / "models")

    def chosen(*arguments: str) -> tuple[str, str | None]:
        settings: GazeSettings = request_of.gaze_settings(values(*arguments), tmp_path / "models")
        return settings.mask_source, settings.model

    assert chosen() == ("autogaze", "stand-in")
    assert chosen("--mask-source", "autogaze") == ("autogaze", "stand-in")
    assert chosen("--model", "other") == ("autogaze", "other")
    assert chosen("--mask-source", "patch-diff") == ("patch-diff", None)
    assert chosen("--mask-source", "patch-diff", "--model", "other") == ("patch-diff", None)


def test_the_default_from_end_to_end(package: Path, clip: Path, tmp_path: Path) -> None:
    few = ("--frames", 2, "--max-gaze-tokens-each-frame", 3, "--offline")
    done = autogaze(package, "trace", clip, *few, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    said = f"mask source: autogaze, model stand-in (sha256 {SHA256})"
    assert done.stderr.splitlines()[0] == said
    header = json.loads((tmp_path / "square.trace.json").read_text())
    assert (header["mask_source"], header["model"]) == ("autogaze", "stand-in")
    assert header["model_sha256"] == SHA256
    other = autogaze(
        package, "trace", clip, "--mask-source", "patch-diff", "-o", tmp_path, "--overwrite"
    )
    assert other.stderr.splitlines()[0] == "mask source: patch-diff"


def test_weights_that_were_not_shipped_never_run(package: Path, clip: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(package, tmp_path / "damaged"))
    weights = place / "autogaze_cli" / "models" / "stand-in" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    done = autogaze(place, "trace", clip, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"has SHA-256 {found}, but {SHA256} is recorded" in done.stderr
    assert not (tmp_path / "out").exists()
    verified = autogaze(place, "models", "verify", "stand-in")
    assert (verified.returncode, verified.stderr) == (1, "")
    assert found in verified.stdout


def test_list_marks_the_default(package: Path, tmp_path: Path) -> None:
    listed = autogaze(package, "models", "list", HF_HUB_CACHE=str(tmp_path))
    header, ours, known = listed.stdout.splitlines()
    assert header.split() == ["NAME", "KIND", "SIZE", "SHA-256", "LICENCE"]
    assert ours.split() == ["*", "stand-in", "bundled", "0.7", "MB", SHA256, "Apache-2.0"]
    assert known.split()[:4] == ["nvidia/AutoGaze", "known", "-", "-"]
    assert "non-commercial" in known
    document = json.loads(
        autogaze(package, "models", "list", "--json", HF_HUB_CACHE=str(tmp_path)).stdout
    )
    assert document["default"] == "stand-in"
    assert [model["kind"] for model in document["models"]] == ["bundled", "known"]
    assert document["models"][0]["sha256"] == SHA256
    path = autogaze(package, "models", "path", "stand-in").stdout.strip()
    assert path == document["models"][0]["folder"] == str(package / "autogaze_cli/models/stand-in")


@pytest.mark.usefixtures("cache")
def test_verify_says_what_it_compared(run: Run, tiny_model: Path) -> None:
    result = run("models", "verify", tiny_model)
    assert result.exit_code == 0
    assert f"sha256 {SHA256}, nothing recorded" in result.stdout
    everything = run("models", "verify")
    assert (everything.exit_code, everything.stdout.count("as recorded")) == (
        0,
        len(catalog.bundled()),
    )


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("verb", ["path", "verify"])
def test_a_model_that_is_not_here_is_one_line(run: Run, verb: str) -> None:
    result = run("models", verb, "nvidia/AutoGaze")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "autogaze models fetch nvidia/AutoGaze" in result.stderr


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--offline"], {}, "is not fetched while offline; leave out --offline"),
        ([], {"AUTOGAZE_OFFLINE": "1"}, "is not fetched while offline; unset AUTOGAZE_OFFLINE\n"),
        (["--sha256", "12"], {}, "must be 64 hexadecimal digits"),
    ],
)
def test_fetch_refuses(
    run: Run, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    result = run("models", "fetch", HUB_ID, *arguments, env=environment)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr


def test_fetch_names_the_extra_that_it_needs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    result = run("models", "fetch", HUB_ID, env={"AUTOGAZE_OFFLINE": ""})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "without the hub extra; pip install 'autogaze-cli[hub]'" in result.stderr


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for: one repository at one commit."""

    files = (*catalog.FILES, "README.md", "pytorch_model.bin")

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        listing = [{"type": "file", "path": name, "rfilename": name} for name in self.files]
        for entry in listing:
            entry["size"] = len(self._content(entry["path"]))  # type: ignore[assignment]
            entry["oid"] = hashlib.sha1(self._content(entry["path"])).hexdigest()
        if path.startswith(f"/api/models/{HUB_ID}/tree/"):
            self._send(json.dumps(listing).encode(), body, "application/json")
        elif path.startswith(f"/api/models/{HUB_ID}"):
            info = {"id": HUB_ID, "sha": COMMIT, "siblings": listing}
            self._send(json.dumps(info).encode(), body, "application/json")
        elif path.startswith(f"/{HUB_ID}/resolve/") and path.rpartition("/")[2] in self.files:
            self._send(self._content(path.rpartition("/")[2]), body, "application/octet-stream")
        else:
            self.send_error(404)

    def _content(self, name: str) -> bytes:
        return (TINY / name).read_bytes() if (TINY / name).exists() else b"text\n"

    def _send(self, content: bytes, body: bool, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a Hub on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the hub extra")
def test_fetch_pins_a_revision_and_a_hash(hub: str, tmp_path: Path) -> None:
    environment = {
        "HF_ENDPOINT": hub,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HOME": str(tmp_path / "home"),
        "AUTOGAZE_OFFLINE": "0",
    }

    def models(*arguments: str) -> Any:
        return autogaze(ROOT, "models", *arguments, **environment)

    wrong = models("fetch", HUB_ID, "--revision", COMMIT, "--sha256", "0" * 64)
    assert (wrong.returncode, wrong.stdout) == (2, ""), wrong.stderr
    assert f"has SHA-256 {SHA256}, not {'0' * 64}; it was removed again" in wrong.stderr
    assert models("verify", HUB_ID).returncode == 1
    right = models("fetch", HUB_ID, "--revision", COMMIT, "--sha256", SHA256.upper())
    assert (right.returncode, right.stdout) == (0, f"{HUB_ID}\n"), right.stderr
    folder = Path(models("path", HUB_ID).stdout.strip())
    assert folder.name == COMMIT
    assert {path.name for path in folder.iterdir()} == {*catalog.FILES, "README.md"}
    assert f"{HUB_ID}: sha256 {SHA256}, as recorded\n" in models("verify").stdout
    assert models("-q", "fetch", HUB_ID).stderr == ""
    missing = models("fetch", "owner/nothing")
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[-1].startswith("Error: owner/nothing: cannot be fetched (")


WATCHED = """
import json, sys
from autogaze_cli.cli.main import cli
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print("NETWORK", event, arguments)
sys.addaudithook(watch)
for arguments in json.loads(sys.argv[1]):
    try:
        cli(arguments, prog_name="autogaze")
    except SystemExit as end:
        print("ended", end.code)
"""


def test_nothing_unasked_touches_the_network(clip: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        playlist = tmp_path / "list.m3u8"
        playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{address}/part.ts\n#EXT-X-ENDLIST\n")
        few = ["--frames", "2", "--max-gaze-tokens-each-frame", "3"]
        codes = {
            ("trace", str(clip), "--model", str(TINY), *few): 0,
            ("trace", str(playlist)): 2,  # a file that would lead FFmpeg elsewhere
            ("trace", f"{address}/clip.mp4"): 2,
            ("trace", f"{address}/clip.mp4", "--live", "--offline"): 2,
            ("mask", str(clip), "--model", "nvidia/AutoGaze"): 2,
            ("models", "list", "--json"): 0,
            ("models", "verify", "-q"): 0,
        }
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, json.dumps(list(codes))],
            env=os.environ
            | {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "none")}
            | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        ended = [line for line in done.stdout.splitlines() if line.startswith("ended ")]
        assert ended == [f"ended {code}" for code in codes.values()], done.stderr
        assert "NETWORK" not in done.stdout
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody has called


def test_offline_is_an_option_of_every_command_that_gazes(run: Run) -> None:
    for name in ("trace", "mask", "interframe", "readout", "render-assets"):
        assert "--offline " in run(name, "--help").stdout
        assert "no such file" in run(name, "no.mp4", "--offline").stderr


def test_the_environment_is_offline_too(run: Run) -> None:
    result = run("trace", "--live", "rtsp://127.0.0.1/", env={"AUTOGAZE_OFFLINE": "1"})
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "rtsp://127.0.0.1/: not opened while offline; unset AUTOGAZE_OFFLINE\n" in result.stderr
