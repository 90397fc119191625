"""The models that can be named: which of them a name finds, and what is checked of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import autogaze_cli
from autogaze_cli.errors import ModelError
from autogaze_cli.model import catalog
from autogaze_cli.model.checkpoint import find_checkpoint
from scripts.record_model import record

TINY = Path(__file__).parents[2] / "fixtures" / "parity-tiny"
SHA256 = "5682b51d64fece9eccb16ab7689c71bee4cde4d576afa68464f3774aa015b5b6"


def write_models(folder: Path, **changes: Any) -> Path:
    """A folder like the package's own, with one model in it, named ``stand-in``."""
    shutil.copytree(TINY, folder / "stand-in")
    entry = {
        "name": "stand-in",
        "sha256": SHA256,
        "bytes": (TINY / catalog.WEIGHTS).stat().st_size,
        "licence": "Apache-2.0",
        "summary": "random weights",
    }
    document = {"default": "stand-in", "models": [entry], **changes}
    (folder / "models.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


def add_snapshot(cache: Path, commit: str, hub_id: str = "nvidia/AutoGaze", **refs: str) -> Path:
    """A snapshot as the Hub's client lays it out: links to blobs, large ones named by hash."""
    repository = cache / ("models--" + hub_id.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in catalog.FILES:
        blob = repository / "blobs" / (SHA256 if name == catalog.WEIGHTS else f"etag-of-{name}")
        shutil.copyfile(TINY / name, blob)
        (snapshot / name).symlink_to(blob)
    for ref, target in refs.items():
        (repository / "refs" / ref).write_text(target)
    return snapshot


def test_what_is_shipped_is_as_recorded() -> None:
    shipped = catalog.bundled()
    folders = {path.name for path in catalog.MODELS.iterdir() if path.is_dir()}
    assert folders == set(shipped)
    for model in shipped.values():
        assert model.folder is not None
        assert model.verify() == model.sha256
        weights = model.folder / catalog.WEIGHTS
        assert weights.stat().st_size == model.bytes
        assert weights.stat().st_size <= 8_000_000
        assert (model.folder / "MODEL_CARD.md").is_file()
        assert "nvidia" not in model.name.lower()
    assert catalog.default_model() in {None, *shipped}


def test_nothing_of_nvidia_s_is_bundled() -> None:
    assert "non-commercial" in str(catalog.KNOWN["nvidia/AutoGaze"].licence)
    assert catalog.KNOWN.keys() & catalog.bundled().keys() == set()


def test_a_bundled_model_is_found_by_name(models: Path) -> None:
    model = catalog.find("stand-in", models)
    assert (model.kind, model.folder, model.sha256) == ("bundled", models / "stand-in", SHA256)
    assert model.verify() == SHA256
    assert find_checkpoint("stand-in", models) == models / "stand-in"
    assert catalog.default_model(models) == "stand-in"


def test_a_folder_never_hides_a_bundled_model(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "here" / "stand-in"
    other.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert catalog.find("stand-in", models).kind == "bundled"
    assert catalog.find("./stand-in", models).folder == Path("stand-in")
    assert catalog.find(Path("stand-in"), models).kind == "folder"


def test_other_weights_than_the_shipped_ones_are_refused(models: Path) -> None:
    weights = models / "stand-in" / catalog.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = catalog.sha256_of(weights)
    with pytest.raises(ModelError, match=f"has SHA-256 {found}, but {SHA256} is recorded"):
        find_checkpoint("stand-in", models)
    # The same folder by its path is the user's own, of which nothing is recorded.
    assert find_checkpoint(models / "stand-in", models) == models / "stand-in"


@pytest.mark.parametrize("name", catalog.FILES)
def test_a_missing_file_is_named(models: Path, name: str) -> None:
    (models / "stand-in" / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        find_checkpoint("stand-in", models)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"default": null}',
        '{"default": "other", "models": []}',
        '{"default": null, "models": [{"name": "a"}]}',
        '{"default": null, "models": 3}',
    ],
)
def test_damaged_records_are_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(ModelError, match=r"models\.json: is damaged"):
        _ = (catalog.default_model(tmp_path), catalog.bundled(tmp_path))


def test_without_a_default_there_is_none(tmp_path: Path) -> None:
    assert catalog.default_model(write_models(tmp_path / "models", default=None)) is None


def test_a_recorded_model_is_found_and_may_be_the_default(models: Path) -> None:
    shutil.copytree(TINY, models / "another")
    with pytest.raises(ModelError, match=r"MODEL_CARD\.md is missing"):
        record(models, "another", "MIT", "the same", default=True)
    (models / "another" / "MODEL_CARD.md").write_text("# A card\n")
    record(models, "another", "MIT", "the same", default=False)
    assert list(catalog.bundled(models)) == ["another", "stand-in"]
    assert catalog.default_model(models) == "stand-in"
    record(models, "another", "MIT", "the same, once more", default=True)
    model = catalog.bundled(models)["another"]
    assert (model.sha256, model.bytes) == (SHA256, 700_864)
    assert (model.licence, model.summary) == ("MIT", "the same, once more")
    assert catalog.default_model(models) == "another"


def test_main_is_what_a_hub_id_finds(cache: Path) -> None:
    old, new = add_snapshot(cache, "a" * 40), add_snapshot(cache, "b" * 40, main="b" * 40)
    assert find_checkpoint("nvidia/AutoGaze") == new
    assert find_checkpoint("nvidia/AutoGaze@" + "a" * 40) == old
    assert find_checkpoint("nvidia/AutoGaze@main") == new
    with pytest.raises(ModelError, match="no such model"):
        find_checkpoint("nvidia/AutoGaze@" + "c" * 40)
    found = catalog.cached()
    assert {name: model.folder for name, model in found.items()} == {
        "nvidia/AutoGaze@" + "a" * 40: old,
        "nvidia/AutoGaze": new,
    }
    for model in found.values():
        assert (model.sha256, model.verify(), model.kind) == (SHA256, SHA256, "cached")
        assert "non-commercial" in str(model.licence)


def test_a_pinned_revision_alone_needs_no_main(cache: Path) -> None:
    only = add_snapshot(cache, "a" * 40)
    assert find_checkpoint("nvidia/AutoGaze") == only
    assert list(catalog.cached()) == ["nvidia/AutoGaze"]
    add_snapshot(cache, "b" * 40)
    with pytest.raises(ModelError, match="no such model"):  # which of the two is meant?
        find_checkpoint("nvidia/AutoGaze")
    assert len(catalog.cached()) == 2


def test_only_autogaze_checkpoints_of_the_cache_are_listed(cache: Path) -> None:
    snapshot = add_snapshot(cache, "a" * 40, "some/language-model", main="a" * 40)
    (snapshot / catalog.CONFIG).unlink()
    (snapshot / catalog.CONFIG).write_text('{"model_type": "llama"}')
    assert catalog.cached() == {}


def test_a_link_of_the_cache_to_itself_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--a--loop"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots/abc").symlink_to("abc")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        autogaze_cli.load_model("a/loop")


def test_a_cached_model_that_changed_is_noticed(cache: Path) -> None:
    snapshot = add_snapshot(cache, "a" * 40, main="a" * 40)
    with (snapshot / catalog.WEIGHTS).resolve().open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="the cached model nvidia/AutoGaze"):
        catalog.find("nvidia/AutoGaze").verify()


@pytest.mark.usefixtures("cache")
def test_what_is_nowhere_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such model, looked for .*models--nvidia--AutoGaze"):
        autogaze_cli.load_model("nvidia/AutoGaze")
    with pytest.raises(ModelError, match="is not on this machine"):
        catalog.KNOWN["nvidia/AutoGaze"].verify()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ModelError, match="is a file"):
        catalog.find(file)


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False), ("Off", False)]
)
def test_the_environment_forbids_the_network(
    monkeypatch: pytest.MonkeyPatch, value: str, offline: bool
) -> None:
    monkeypatch.setenv(catalog.OFFLINE, value)
    assert catalog.is_offline() is offline
    if offline:
        with pytest.raises(ModelError, match="is not fetched while offline"):
            catalog.fetch("nvidia/AutoGaze")


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(_: int) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(RuntimeError):
        Path.home()
    assert catalog.cached() == {}
    for missing in ("some/model", "~/model"):
        with pytest.raises(ModelError, match=f"{missing}: no such model"):
            catalog.find(missing)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=str(tmp_path / "huggingface/hub/models--some--model")):
        catalog.find("some/model")
