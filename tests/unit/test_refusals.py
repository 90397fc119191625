"""What Python callers may not ask for: each is refused by name, before anything is done."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from autogaze_cli.batch.lists import read_list
from autogaze_cli.bench.synthetic import seeded_model
from autogaze_cli.compare.calibrate import CalibrateSettings, calibrate_document, calibration_text
from autogaze_cli.compare.check import differences
from autogaze_cli.compare.settings import CompareSettings
from autogaze_cli.encoders import load_encoder
from autogaze_cli.encoders.checkpoint import weight_files
from autogaze_cli.errors import ConfigError, FormatError, InputError, ModelError, as_autogaze_error
from autogaze_cli.jobs.draw import differing_keys
from autogaze_cli.jobs.live import live_stem
from autogaze_cli.jobs.settings import BatchSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.writers import open_writer
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.catalog import fetch
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.trace.header import TraceHeader, expect_keys

SIGLIP = Path(__file__).parents[2] / "fixtures" / "encoders" / "siglip-tiny-p16"
Call = Callable[[], object]


@pytest.fixture(scope="module")
def model() -> AutoGaze:
    return seeded_model()


REFUSED: list[tuple[Call, str]] = [
    (lambda: load_model("kestrel", "cpu", "float16"), "dtype must be float32 or bfloat16"),  # type: ignore[arg-type]
    (lambda: load_encoder(SIGLIP, dtype="float16"), "dtype must be float32 or bfloat16"),  # type: ignore[arg-type]
    (lambda: CompareSettings(sources=("codec",), repeats=0), "repeats must be at least 1"),
    (lambda: CompareSettings(sources=("codec",), seeds=0), "seeds must be at least 1"),
    (lambda: CalibrateSettings(model="kestrel", requirements=()), "one or more numbers"),
    (lambda: CalibrateSettings(model="kestrel", requirements=(0.2, 0.1)), "ascending"),
    (lambda: CalibrateSettings(model="kestrel", confidence=1.0), "confidence must be above 0"),
    (lambda: BatchSettings(out_dir=Path(), workers=0), "workers must be at least 1"),
    (
        lambda: open_writer(Path("a"), format="avi", fps=Fraction(1), width=2, height=2),  # type: ignore[arg-type]
        "format must be one of .*, not 'avi'",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_settings_that_are_refused(call: Call, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_what_a_model_refuses(model: AutoGaze) -> None:
    with pytest.raises(
        ConfigError, match=r"video must be \[b, t, 3, h, w\], not \[1, 2, 4, 8, 8\]"
    ):
        model.generate(torch.zeros(1, 2, 4, 8, 8))
    with pytest.raises(ConfigError, match=r"not \[1, 0, 3, 8, 8\]"):
        model.generate(torch.zeros(1, 0, 3, 8, 8))
    with pytest.raises(ConfigError, match="horizon_frames must be at least 1, not 0"):
        model.new_state(horizon_frames=0)
    with pytest.raises(ConfigError, match="frames must be uint8"):
        model.preprocess(np.zeros((2, 8, 8, 3), np.int16))


def test_frames_in_a_tensor_are_as_those_in_an_array(model: AutoGaze) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (2, 40, 60, 3), np.uint8)
    array, tensor = model.preprocess(frames), model.preprocess(torch.from_numpy(frames))
    assert array.shape == tensor.shape == (1, 2, 3, 224, 336)
    assert torch.allclose(array, tensor, atol=1e-5)


def test_without_a_ratio_the_budget_is_one_step_of_the_decoder(model: AutoGaze) -> None:
    plain = replace(model.config, gazing_ratio=None)
    assert plain.default_budget == plain.num_multi_token_pred


def test_a_rotary_scaling_with_crossed_bounds_is_refused() -> None:
    raw = json.loads((Path(__file__).parents[2] / "fixtures/parity-tiny/config.json").read_text())
    crossed = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 4.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }

    def put(node: Any) -> None:
        if isinstance(node, dict):
            if "rope_scaling" in node:
                node["rope_scaling"] = crossed
            for below in node.values():
                put(below)

    put(raw)
    with pytest.raises(ConfigError, match=r"low_freq_factor 4\.0 must be below"):
        GazeConfig.from_mapping(raw)


def test_names_that_the_hub_cannot_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOGAZE_OFFLINE", raising=False)
    for name in ("kestrel", "owner/name@main", "a/b/c"):
        with pytest.raises(ModelError, match="is not a Hub id"):
            fetch(name)
    assert list(tmp_path.iterdir()) == []


# Encoders.


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SIGLIP, tmp_path / "encoder"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_size", [224, 112], r"image_size is \[224, 112\], not that of a square"),
        ("image_size", 8, "image_size 8 must be at least patch_size 16"),
        ("image_size", 65536, "has too many patches"),
    ],
)
def test_encoders_of_impossible_sizes(encoder: Path, key: str, value: object, message: str) -> None:
    path = encoder / "config.json"
    config = json.loads(path.read_text())
    config.get("vision_config", config)[key] = value
    path.write_text(json.dumps(config))
    with pytest.raises((ConfigError, ModelError), match=message):
        load_encoder(encoder)


def test_encoders_of_other_forms(encoder: Path) -> None:
    weights = load_file(encoder / "model.safetensors")
    name = next(n for n in weights if n.endswith("patch_embedding.weight"))
    flat = {**weights, name: weights[name].flatten(1)}
    save_file(flat, encoder / "model.safetensors")
    with pytest.raises((ConfigError, ModelError), match="pictures of any shape"):
        load_encoder(encoder)
    whole = {**weights, name: weights[name].to(torch.int32)}
    save_file(whole, encoder / "model.safetensors")
    with pytest.raises(ModelError, match="not a float"):
        load_encoder(encoder)


def test_encoders_with_missing_files(encoder: Path) -> None:
    (encoder / "preprocessor_config.json").write_text('{"rescale_factor": 1.0}')
    with pytest.raises(ModelError, match=r"rescale_factor is 1\.0, not 1/255"):
        load_encoder(encoder)
    (encoder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        weight_files(encoder)
    index = encoder / "model.safetensors.index.json"
    for text in ("[]", '{"weight_map": 1}', '{"weight_map": {"a": 1}}'):
        index.write_text(text)
        with pytest.raises(ModelError, match="has no weight_map"):
            weight_files(encoder)
    index.write_text('{"weight_map": {"a": "../../b", "c": "d", "e": "d"}}')
    for name in "bd":
        (encoder / name).touch()
    assert weight_files(encoder) == [encoder / "b", encoder / "d"]
    (encoder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_encoder(encoder)


# Documents.


def test_documents_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"the header is \[\], not an object"):
        TraceHeader.from_mapping([])
    with pytest.raises(FormatError, match="a frame is 1, not an object"):
        expect_keys(1, ["time"], "a frame")
    (tmp_path / "a.json").write_text("[1]")
    assert differing_keys(tmp_path / "a.json", {"frames": 1}) == []
    (tmp_path / "a.json").write_text('{"frames": 2}')
    assert "frames" in differing_keys(tmp_path / "a.json", {"frames": 1})


def test_a_list_of_comments_is_empty(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"# none\n\n  \r\n")
    with pytest.raises(InputError, match="the list is empty"):
        read_list(tmp_path / "names")
    (tmp_path / "names").write_bytes(b"# one\n a \r\n")
    assert read_list(tmp_path / "names") == [" a "]


def test_comparisons_of_other_clips() -> None:
    one = {"settings": {}, "models": {}, "clips": [{"input": "a", "rows": []}]}
    with pytest.raises(ConfigError, match="is of other clips"):
        list(differences(one, {**one, "clips": [{"input": "b", "rows": []}]}))
    assert list(differences(one, one)) == []


def calibrated(target: float | None, clips: int, confidence: float = 0.5) -> dict[str, Any]:
    """The calibration of clips of four frames, of losses 0.1 and 0.3 at two requirements."""
    rows = [{"losses": [loss] * 4, "tokens": [9] * 4} for loss in (0.1, 0.3)]
    settings = CalibrateSettings(
        model="kestrel", requirements=(0.1, 0.3), target=target, confidence=confidence,
        sampling=Sampling(frames=4),
    )  # fmt: skip
    found = [{"input": f"{n}.mp4", "frames": 4, "rows": rows} for n in range(clips)]
    return calibrate_document(settings, None, found)


@pytest.mark.parametrize(
    ("target", "clips", "said"),
    [
        (None, 3, None),
        (0.2, 3, "task_loss_requirement 0.1 reaches a loss of 0.2 on 50% of frames"),
        (0.05, 3, "no requirement reaches a loss of 0.05 on 50% of frames of further clips: "
                  "the strictest, 0.1, reaches it on 0.0% of these; give a higher --target"),
    ],
)  # fmt: skip
def test_what_a_calibration_promises(target: float | None, clips: int, said: str | None) -> None:
    document = calibrated(target, clips)
    assert [row["loss"] for row in document["rows"]] == [0.1, 0.3]
    text = calibration_text(document)
    assert "9.0" in text
    assert (document["promise"] is None) == (said is None)
    assert said is None or said in text


def test_a_calibration_of_too_few_clips_promises_nothing() -> None:
    document = calibrated(0.2, 2, 0.95)
    assert "needs at least 19 clips, got 2" in calibration_text(document)


def test_what_to_do_when_there_are_too_many_open_files() -> None:
    full = as_autogaze_error(OSError(errno.EMFILE, "Too many open files", "a.mp4"))
    assert "ulimit -n" in full.line()
    assert full.line().startswith("a.mp4: Too many open files")
    other = as_autogaze_error(OSError(errno.EACCES, "Permission denied", "a.mp4"))
    assert "ulimit" not in other.line()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("-", "stdin"),
        ("rtsp://host/a/b?c", "b"),
        ("synthetic://motion", None),
        ("http://[", "live"),
    ],
)
def test_the_names_of_files_of_a_stream(name: str, stem: str | None) -> None:
    found = live_stem(name)
    assert found == stem if stem else found and "/" not in found and ":" not in found
