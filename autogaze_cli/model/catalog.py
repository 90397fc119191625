"""The models that can be named: bundled with the package, in the local Hub cache, and known.

Nothing here imports PyTorch, and nothing but ``fetch`` touches the network.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autogaze_cli.errors import FormatError, InputError, ModelError
from autogaze_cli.model.files import read_json
from autogaze_cli.reading import MOST_BYTES, checked, parse_json, read_regular

if TYPE_CHECKING:
    from autogaze_cli.model.record import Record

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
FILES = (CONFIG, WEIGHTS, PREPROCESSOR)

MODELS = Path(__file__).parents[1] / "models"
"""The bundled models, one folder each, and ``models.json``, which records them."""

OFFLINE = "AUTOGAZE_OFFLINE"
"""The environment variable that forbids ``fetch``; the Hub's own is ``HF_HUB_OFFLINE``."""

MOST_HASHED_BYTES = 1 << 34
"""Of a file of weights, or of a trace."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w.-]*))?", re.ASCII)

Kind = Literal["bundled", "cached", "known", "folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be named.

    Attributes:
        name: What ``--model`` takes.
        kind: ``bundled`` with the package, ``cached`` from the Hub, ``known`` to be on the Hub, or
            a ``folder`` of the user's own.
        folder: Where its files are; None when it is only known.
        sha256: What is recorded of its weights, to compare them with; None = nothing is.
        bytes: Size of its weights; None when they are not here.
        licence: Under what terms it may be used; None when this program does not know.
        summary: What it is, in one line.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    sha256: str | None = None
    bytes: int | None = None
    licence: str | None = None
    summary: str | None = None

    def verify(self) -> str:
        """The SHA-256 of its weights, which must be the recorded one where there is one.

        Raises:
            ModelError: A file is missing, or the weights are others; it names both hashes.
        """
        if self.folder is None:
            raise ModelError(
                f"{self.name}: is not on this machine", hint=f"autogaze models fetch {self.name}"
            )
        for name in FILES:
            if not (self.folder / name).is_file():
                raise ModelError(
                    f"{self.folder}: {name} is missing",
                    hint=f"a checkpoint folder contains {', '.join(FILES)}",
                )
        found = sha256_of(self.folder / WEIGHTS)
        if self.sha256 not in (None, found):
            raise ModelError(
                f"{self.folder / WEIGHTS}: has SHA-256 {found}, but {self.sha256} is recorded for "
                f"the {self.kind} model {self.name}",
                hint="install or fetch it again",
            )
        return found


KNOWN = {
    "nvidia/AutoGaze": Model(
        name="nvidia/AutoGaze",
        kind="known",
        licence="NVIDIA, non-commercial research",
        summary="the published checkpoint; never bundled",
    )
}
"""Models of the Hub that run here, by id."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: It has more bytes than any weights; a few kilobytes on a disk may be terabytes.
    """
    with path.open("rb") as file:
        if (size := file.seek(0, os.SEEK_END)) > MOST_HASHED_BYTES:
            raise InputError(f"{path}: has {size} bytes, more than {MOST_HASHED_BYTES}")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled(models: Path = MODELS) -> dict[str, Model]:
    """The models that came with the package, by name.

    Args:
        models: Where they are: a folder with ``models.json`` and one folder per model.

    Raises:
        ModelError: ``models.json`` is missing or damaged.
    """
    return {
        entry.name: Model(
            name=entry.name,
            kind="bundled",
            folder=models / entry.name,
            sha256=entry.sha256,
            bytes=entry.bytes,
            licence=entry.licence,
            summary=entry.summary,
        )
        for entry in _recorded(models).models
    }


def default_model(models: Path = MODELS) -> str | None:
    """The bundled model that runs when none is named; None = there is none.

    Args:
        models: See ``bundled``.

    Raises:
        ModelError: ``models.json`` is damaged, or names a default that it does not record.
    """
    name = _recorded(models).default
    if name is not None and name not in bundled(models):
        raise _damaged(models, f"its default, {name}, is not among its models")
    return name


def _recorded(models: Path) -> Record:
    from autogaze_cli.model.record import Record  # no --help needs it

    try:
        text = read_regular(models / "models.json", MOST_BYTES).decode("utf-8")
        return checked(parse_json(text, "the file"), Record, "the file")
    except (OSError, ValueError, FormatError) as error:
        raise _damaged(models, error) from error


def _damaged(models: Path, why: object) -> ModelError:
    return ModelError(
        f"{models / 'models.json'}: is damaged ({why})", hint="install autogaze again"
    )


def cached() -> dict[str, Model]:
    """The AutoGaze checkpoints in the local Hub cache, by what ``--model`` takes."""
    found = {}
    cache = _hub_cache()
    for repository in sorted(cache.glob("models--*--*")) if cache else ():
        hub_id = repository.name.removeprefix("models--").replace("--", "/")
        snapshots = [path for path in (repository / "snapshots").glob("*") if _is_autogaze(path)]
        main = _main(repository)
        for snapshot in sorted(snapshots):
            plain = snapshot == main or (main is None and len(snapshots) == 1)
            model = _cached(hub_id if plain else f"{hub_id}@{snapshot.name}", hub_id, snapshot)
            found[model.name] = model
    return found


def _cached(name: str, hub_id: str, snapshot: Path) -> Model:
    known, weights = KNOWN.get(hub_id), snapshot / WEIGHTS
    blob = Path(os.path.realpath(weights)).name  # the cache names large files by their SHA-256
    return Model(
        name=name,
        kind="cached",
        folder=snapshot,
        sha256=blob if _SHA256.fullmatch(blob) else None,
        bytes=weights.stat().st_size if weights.is_file() else None,
        licence=known.licence if known else None,
        summary=known.summary if known else None,
    )


def _is_autogaze(snapshot: Path) -> bool:
    try:
        config = read_json(snapshot / CONFIG)
    except ModelError:
        return False
    return isinstance(config, dict) and "gaze_model_config" in config


def _main(repository: Path) -> Path | None:
    """The snapshot that ``main`` stood for when it was fetched last."""
    commit = _commit(repository, "main")
    snapshot = repository / "snapshots" / (commit or "")
    return snapshot if commit and snapshot.is_dir() else None


def _commit(repository: Path, ref: str) -> str | None:
    """What a name of a revision stood for when it was fetched last."""
    try:
        text = read_regular(repository / "refs" / ref, MOST_BYTES).decode("utf-8").strip()
    except (OSError, ValueError):
        return None
    return text if re.fullmatch(r"\w[\w.-]*", text, re.ASCII) else None


def find(name: str | Path, models: Path = MODELS) -> Model:
    """What a name stands for.

    Args:
        name: A bundled model's name, a folder, or a Hub id (``owner/name`` or
            ``owner/name@revision``) in the local cache, in this order. A ``Path`` is a folder.
        models: See ``bundled``.

    Raises:
        ModelError: Nothing; the message says where it was looked for.
    """
    if isinstance(name, str) and (model := bundled(models).get(name)):
        return model
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # a user without a home folder
        folder = Path(name)
    looked = [str(name) if "://" in str(name) else str(folder)]  # a path drops a slash of it
    if folder.is_dir():
        return _of_folder(str(name), folder)
    if folder.exists():
        raise ModelError(f"{name}: is a file", hint=f"give the folder that contains {WEIGHTS}")
    hint = f"give a folder that contains {CONFIG}, {WEIGHTS} and {PREPROCESSOR}"
    cache = _hub_cache()
    if cache and isinstance(name, str) and (match := _HUB_ID.fullmatch(name)):
        repository = cache / ("models--" + match["id"].replace("/", "--"))
        looked.append(str(repository))
        hint += f", or: autogaze models fetch {match['id']}"
        if snapshot := _snapshot(repository, match["revision"]):
            return _cached(name, match["id"], snapshot)
    raise ModelError(f"{name}: no such model, looked for {' and '.join(looked)}", hint=hint)


def _of_folder(name: str, folder: Path) -> Model:
    weights = folder / WEIGHTS
    size = weights.stat().st_size if weights.is_file() else None
    return Model(name=name, kind="folder", folder=folder, bytes=size)


def _snapshot(repository: Path, revision: str | None) -> Path | None:
    """A revision of a cached repository; without one ``main``, or the only one there is."""
    if revision:
        snapshot = repository / "snapshots" / (_commit(repository, revision) or revision)
        return snapshot if snapshot.is_dir() else None
    if main := _main(repository):
        return main
    snapshots = list((repository / "snapshots").glob("*"))
    return snapshots[0] if len(snapshots) == 1 else None


def _hub_cache() -> Path | None:
    """The Hub's cache, where its own client puts it; None for a user without a home folder."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    if home := os.environ.get("HF_HOME"):
        return Path(home, "hub")
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches, "huggingface", "hub")
    try:
        return Path.home() / ".cache/huggingface/hub"
    except RuntimeError:
        return None


def is_offline() -> bool:
    """Whether the environment forbids the network: ``AUTOGAZE_OFFLINE`` is set, and not to 0."""
    return os.environ.get(OFFLINE, "").strip().lower() not in ("", "0", "false", "no", "off")


def offline_hint() -> str:
    """What to undo where the network was refused."""
    if is_offline():
        return f"unset {OFFLINE}"
    return "leave out --offline; autogaze config show says whether a file sets it"


def fetch(
    hub_id: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    offline: bool = False,
    progress: bool = True,
) -> Model:
    """Download a checkpoint into the Hub cache.

    No other function of this package asks the network for a model.

    Args:
        hub_id: ``owner/name``.
        revision: A commit, tag or branch; None = ``main``.
        sha256: What the weights must hash to; None = whatever comes.
        offline: Refuse; so does ``AUTOGAZE_OFFLINE`` in the environment.
        progress: Draw a bar on stderr.

    Raises:
        ModelError: It is offline, the ``hub`` extra is missing, the Hub refuses or cannot be
            reached, what came is no checkpoint, or its weights are others; then they are taken out
            of the cache again.
    """
    if offline or is_offline():
        raise ModelError(
            f"{hub_id}: is not fetched while offline",
            hint=offline_hint(),
        )
    match = _HUB_ID.fullmatch(hub_id)
    if match is None or match["revision"]:
        raise ModelError(f"{hub_id}: is not a Hub id", hint="give owner/name, and --revision")
    folder = _download(hub_id, revision, progress)
    plain = _snapshot(folder.parents[1], None) == folder
    model = _cached(hub_id if plain else f"{hub_id}@{folder.name}", hub_id, folder)
    found = model.verify()
    if sha256 not in (None, found):
        blob = Path(os.path.realpath(folder / WEIGHTS))
        (folder / WEIGHTS).unlink()
        blob.unlink(missing_ok=True)
        raise ModelError(
            f"{hub_id}: its {WEIGHTS} has SHA-256 {found}, not {sha256}; it was removed again",
            hint="check the revision and the hash",
        )
    return model


def _download(hub_id: str, revision: str | None, progress: bool) -> Path:
    """The snapshot that the Hub's own client makes of what a checkpoint consists of."""
    cache = _hub_cache()
    if cache is None:
        raise ModelError(
            f"{hub_id}: this user has no home folder to keep it in", hint="set HF_HUB_CACHE"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise ModelError(
            f"{hub_id}: cannot be fetched without the hub extra",
            hint="pip install 'autogaze-cli[hub]', or download the folder yourself",
        ) from error
    if not progress:
        disable_progress_bars()
    wanted = [*FILES, "README.md", "LICENSE*"]
    try:
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=wanted, cache_dir=cache)
        )
    except Exception as error:  # the client's errors have no base in common
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{hub_id}: cannot be fetched ({reason})", hint="check the id, its terms, the network"
        ) from error
