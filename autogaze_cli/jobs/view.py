"""Serves the live viewer to the browser, and gazes at its frames in this process."""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

from autogaze_cli.errors import ConfigError
from autogaze_cli.inference.pipeline import AutoGazePipeline
from autogaze_cli.jobs.playing import check_file
from autogaze_cli.jobs.viewing import MAX_MESSAGE, Gaze, Session
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.model.catalog import default_model
from autogaze_cli.player.viewer import served_page
from autogaze_cli.sources.source import GazeSource

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

_CLOSE_S = 2.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # it would hold the token
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is served.

    Attributes:
        page: The page, HTML.
        pipelines: By name of their gaze source.
        about_model: The message that tells a page of the model; None = there is none.
        input: The command's own input, as for ``read_live``; None = none.
        sampling: How to read it.
        token: What an address must have to be answered.
    """

    page: str
    pipelines: Mapping[str, AutoGazePipeline]
    about_model: str | None = None
    input: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))


def open_view(
    input: str | None,
    sampling: Sampling,
    *,
    mask_source: str | None,
    model: str | None,
    device: str,
    dtype: Literal["float32", "bfloat16"],
    threads: int | None,
) -> View:
    """Load the model, and make the page.

    Args:
        input: The command's own input, as for ``read_live``; None = none.
        sampling: How to read it.
        mask_source: ``patch-diff`` loads no model; None = ``autogaze`` if there is a model.
        model: As for ``AutoGazePipeline.from_hf_dir``, as are the arguments after it.
        device: Of the model.
        dtype: Of the model.
        threads: Of the model.

    Raises:
        ConfigError: The extra ``live`` is missing.
        InputError: The input is a file that cannot be read.
        ModelError: The model is missing or not a checkpoint.
        DeviceError: This machine has no such device.
    """
    _server()  # both are said before a model is loaded
    if input is not None:
        check_file(input, sampling)
    pipelines = {"patch-diff": AutoGazePipeline.from_hf_dir(mask_source="patch-diff")}
    about, message = None, None
    if mask_source is None:
        mask_source = "autogaze" if model or default_model() else "patch-diff"
    if mask_source == "autogaze":
        start = time.perf_counter()
        pipeline = AutoGazePipeline.from_hf_dir(model, device, dtype, threads=threads)
        milliseconds = 1000 * (time.perf_counter() - start)
        pipelines = {"autogaze": pipeline, **pipelines}
        source = pipeline.source
        about = {"name": source.model, "sha256": source.model_sha256}
        logger.info("model %(name)s (sha256 %(sha256)s)", about)
        logger.info("device: %s, %s", source.device, dtype)
        message = _ready(source, milliseconds)
    name = input and (Path(input).name or input)
    return View(
        page=served_page(about, name),
        pipelines=pipelines,
        about_model=message,
        input=input,
        sampling=sampling,
    )


def _ready(source: GazeSource, milliseconds: float) -> str:
    """What a page is told of the model."""
    about = {
        "type": "ready",
        "scales": source.scales,
        "ids": source.num_vision_tokens_each_frame,
        "budget": source.max_gaze_tokens_each_frame,
        "requirement": source.task_loss_requirement,
        "milliseconds": milliseconds,
    }
    return json.dumps(about)


def serve_view(view: View, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until an interrupt.

    Args:
        view: What to serve.
        host: The address or name to listen at.
        port: The port; 0 = one that is free.
        on_ready: Called with the page's address, ``http://HOST:PORT/?token=TOKEN``.

    Raises:
        ConfigError: The extra ``live`` is missing, or it cannot listen there.
    """
    serve = _server()
    with closing(_listening(host, port)) as listening:
        own, own_port = listening.getsockname()[:2]
        ip = ipaddress.ip_address(own)
        door = _Door(view, only_loopback=ip.is_loopback)
        protocol = logging.getLogger(f"{__name__}.protocol")
        protocol.setLevel(logging.CRITICAL)  # refused and broken connections are not ours
        with serve(
            door.run,
            sock=listening,
            process_request=door.answer,
            compression=None,
            max_size=MAX_MESSAGE,
            max_queue=2,
            close_timeout=_CLOSE_S,
            server_header=None,
            logger=protocol,
        ) as server:
            name = socket.gethostname() if ip.is_unspecified else own
            name = f"[{name}]" if ":" in name else name
            on_ready(f"http://{name}:{own_port}/?token={view.token}")
            if not ip.is_loopback:
                logger.warning(
                    "%s can be reached from other machines, without encryption: whoever has the "
                    "address can use it, and browsers give such a page no camera",
                    name,
                )
            try:
                server.serve_forever()
            finally:
                door.close()


def _server() -> Callable[..., Any]:
    try:
        from websockets.sync.server import serve
    except ImportError as error:
        raise ConfigError(
            "view needs the extra live", hint="pip install 'autogaze-cli[live]'"
        ) from error
    return serve


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: There is no such host here, or the port is in use or not allowed.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"--port {port} is in use", hint="give another one, or none for one that is free"
            ) from error
        reason = error.strerror or error
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {reason}",
            hint=f"--host {LOOPBACK} without --port always works",
        ) from error


class _Door:
    """Who is let in: an address with the token, and for frames only the page itself."""

    def __init__(self, view: View, *, only_loopback: bool) -> None:
        self._view, self._only_loopback = view, only_loopback
        self._inside: set[ServerConnection] = set()

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a request; None = it may send frames."""
        address = urlsplit(request.path)
        given = parse_qs(address.query).get("token", [""])[0]
        if not secrets.compare_digest(given.encode(), self._view.token.encode()):
            return connection.respond(HTTPStatus.FORBIDDEN, "wrong token\n")
        host = request.headers.get("Host", "")
        if self._only_loopback and not _is_loopback(host):
            return connection.respond(HTTPStatus.FORBIDDEN, "wrong host\n")
        if address.path == "/":
            return self._page(connection)
        if address.path != "/gaze":
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        if request.headers.get("Origin") != f"http://{host}":
            return connection.respond(HTTPStatus.FORBIDDEN, "wrong origin\n")
        return None

    def _page(self, connection: ServerConnection) -> Response:
        response = connection.respond(HTTPStatus.OK, self._view.page)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    def run(self, connection: ServerConnection) -> None:
        """Answer a page until it leaves."""
        view = self._view
        self._inside.add(connection)
        logger.debug("a page is open")
        try:
            if view.about_model is not None:
                connection.send(view.about_model)
            Session(connection, Gaze(view.pipelines), view.input, view.sampling).run()
        except ConfigError as error:
            logger.warning("a page was refused: %s", error)
            connection.close(1008, str(error)[:100])
        finally:
            self._inside.discard(connection)
            logger.debug("a page is closed")

    def close(self) -> None:
        """Leave all pages at once, also those that read nothing, which block whoever sends."""
        for connection in list(self._inside):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)


def _is_loopback(host: str) -> bool:
    """Whether a ``Host`` header names this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
