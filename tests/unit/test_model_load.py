"""Loading checkpoints: what is accepted, what is refused, and what the message names."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import autogaze_cli
from autogaze_cli.errors import ConfigError, DeviceError, ModelError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.inference import open_source
from autogaze_cli.media.video import Frame
from autogaze_cli.model.autogaze import AutoGaze
from autogaze_cli.model.catalog import default_model, sha256_of
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.devices import available_devices, choose_device
from autogaze_cli.model.packed import PackedLayers
from autogaze_cli.upstream.model import AutoGaze as UpstreamAutoGaze

TINY = Path(__file__).parents[2] / "fixtures" / "parity-tiny"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


@pytest.fixture(scope="module")
def tiny() -> AutoGaze:
    return autogaze_cli.load_model(TINY)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = config
        for section in sections:
            place = place[section]
        place[key] = value
    path.write_text(json.dumps(config))


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name, tensor in changes.items():
        full = next(key for key in weights if key.endswith(name.replace("__", ".")))
        if tensor is None:
            del weights[full]
        else:
            weights[full] = tensor
    save_file(weights, path)


def frames(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (2, 224, 224, 3), np.uint8)


def test_config_and_identity(tiny: AutoGaze) -> None:
    assert tiny.config.scales == "32+64+112+224"
    assert tiny.config.layout.grids == (2, 4, 7, 14)
    assert tiny.config.num_vision_tokens_each_frame == 265
    assert tiny.config.gazing_ratio == 0.75
    assert tiny.config.task_loss_requirement == pytest.approx(0.7)
    assert tiny.sha256 == sha256_of(TINY / "model.safetensors")


def test_state_dict_keys_are_the_published_ones(tiny: AutoGaze) -> None:
    assert set(tiny.network.state_dict()) == set(load_file(TINY / "model.safetensors"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_become_float32(copy: Path, dtype: torch.dtype) -> None:
    weights = {k: v.to(dtype) for k, v in load_file(copy / "model.safetensors").items()}
    save_file(weights, copy / "model.safetensors")
    network = autogaze_cli.load_model(copy).network
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, weights[name].float())


class Harm:
    """Once pickled, it makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_and_pickles_beside_a_model_do_nothing(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    pickled = pickle.dumps(Harm(marker))
    pickle.loads(pickled)  # noqa: S301  # our own
    marker.unlink()  # so it would do it
    code = f"open({str(marker)!r}, 'w')\n"
    for name in ("__init__.py", "modeling.py", "sitecustomize.py", "safetensors.py", "conftest.py"):
        (copy / name).write_text(code)
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin"):
        (copy / name).write_bytes(pickled)
    change_config(copy, auto_map={"AutoModel": "modeling.Model"}, trust_remote_code=True)
    monkeypatch.chdir(copy)
    autogaze_cli.load_model(copy)
    UpstreamAutoGaze.from_pretrained(copy, trust_remote_code=True)
    (copy / "model.safetensors").write_bytes(pickled)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        autogaze_cli.load_model(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        autogaze_cli.load_model(copy)
    assert not marker.exists()


def test_bfloat16_arithmetic_runs(tiny: AutoGaze) -> None:
    model = autogaze_cli.load_model(TINY, dtype="bfloat16")
    output = model.generate(model.preprocess(frames()), max_gaze_tokens_each_frame=12)
    assert output.num_gazing_each_frame.tolist() == [12, 12]


def test_surplus_tensors_are_ignored(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({**weights, "rotary.inv_freq": torch.ones(3)}, copy / "model.safetensors")
    autogaze_cli.load_model(copy)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (None, "1 tensors are missing: .*lm_head.weight"),
        (torch.zeros(3, 4), r"lm_head.weight is torch.float32 \[3, 4\], not float \[2660, 32\]"),
        (torch.zeros(2660, 32, dtype=torch.int64), "lm_head.weight is torch.int64"),
        (torch.full((2660, 32), torch.nan), "1 tensors contain .* not finite: .*lm_head.weight"),
        (torch.eye(2660, 32).mul(-1e9).half(), "1 tensors contain .* not finite: .*lm_head.weight"),
    ],
)
def test_missing_and_misshaped_tensors_are_named(
    copy: Path, tensor: torch.Tensor | None, message: str
) -> None:
    change_weights(copy, lm_head__weight=tensor)
    with pytest.raises(ModelError, match=message):
        autogaze_cli.load_model(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_missing_and_damaged_files_are_named(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"\x00not this")
    with pytest.raises(ModelError, match=name):
        autogaze_cli.load_model(copy)
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        autogaze_cli.load_model(copy)


DECODER = "gaze_model_config__gaze_decoder_config__"
VISION = "gaze_model_config__vision_model_config__"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({DECODER + "vocab_size": 300}, "vocab_size must be 266, not 300"),
        ({"gaze_model_config__connector_config__num_tokens": 9}, "num_tokens must be 196, not 9"),
        ({"scales": "32+x"}, "scales"),
        ({"scales": True}, "scales"),
        ({"scales": [math.inf]}, "holds Infinity"),
        ({DECODER + "hidden_act": "gelu"}, "hidden_act must be 'silu', not 'gelu'"),
        ({"gaze_model_config": None}, "has no 'gaze_model_config'"),
        ({"num_vision_tokens_each_frame": 53}, "num_vision_tokens_each_frame must be 53, not 265"),
        ({"gaze_model_config": [1]}, r"gaze_model_config is \[1\], not an object"),
        (
            {"num_vision_tokens_each_frame": True},
            "num_vision_tokens_each_frame is True, not an integer",
        ),
        ({VISION + "temporal_patch_size": 2}, "temporal_patch_size 2, not 1: not supported"),
        ({VISION + "kernel_size": 0}, "kernel_size is 0, not an integer of at least 1"),
        ({VISION + "trunk_spatial_kernel_size": 4}, "even trunk_spatial_kernel_size"),
        ({VISION + "out_dim": 16}, "out_dim and decoder hidden_size that differ"),
        ({"gaze_model_config__input_img_size": 8}, "kernel_size larger than input_img_size"),
        (
            {"gaze_model_config__input_img_size": 48}
            | {"gaze_model_config__connector_config__num_tokens": 9},
            "9 vision tokens per frame, fewer than the 10 tokens that one step predicts",
        ),
        (
            {DECODER + "num_hidden_layers": 0},
            "num_hidden_layers is 0, not an integer of at least 1",
        ),
        ({DECODER + "num_hidden_layers": -1}, "num_hidden_layers"),
        (
            {DECODER + "hidden_size": 10**400},
            r"hidden_size is 10+\.\.\.0+, not an integer of at most 65536",
        ),
        ({DECODER + "hidden_size": 32.0}, r"hidden_size is 32\.0, not an integer"),
        ({DECODER + "hidden_size": "32"}, "hidden_size is '32', not an integer"),
        ({DECODER + "num_attention_heads": 0}, "num_attention_heads"),
        ({DECODER + "num_key_value_heads": 3}, "attention heads for 3 key-value heads"),
        ({DECODER + "head_dim": 7}, "odd head_dim, 7"),
        ({DECODER + "num_multi_token_pred": 0}, "num_multi_token_pred"),
        ({DECODER + "rms_norm_eps": math.nan}, "holds NaN"),
        ({DECODER + "rope_theta": -1}, "rope_theta is -1, not a number above 0"),
        ({DECODER + "rope_theta": 10**400}, r"rope_theta is 10+\.\.\.0+: number out of range"),
        ({DECODER + "rope_scaling": {"rope_type": "yarn"}}, "rope_scaling type 'yarn'"),
        ({DECODER + "rope_scaling": {"rope_type": "llama3"}}, "rope_scaling has no 'factor'"),
        ({"gazing_ratio_config": {"fixed": {"gazing_ratio": math.nan}}}, "holds NaN"),
        ({"gazing_ratio_config": 3}, "gazing_ratio_config is 3, not an object"),
    ],
)
def test_configs_that_cannot_be_run_are_refused_when_loading(
    copy: Path, changes: dict[str, Any], message: str
) -> None:
    change_config(copy, **changes)
    with pytest.raises(ModelError, match=message):
        autogaze_cli.load_model(copy)


@pytest.mark.parametrize("text", ["[]", "3", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_json_that_is_no_configuration(copy: Path, text: str) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        before = (copy / name).read_text()
        (copy / name).write_text(text)
        with pytest.raises(ModelError, match=name):
            autogaze_cli.load_model(copy)
        (copy / name).write_text(before)


def change_preprocessor(folder: Path, **changes: Any) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (224, (224, 448)),
        ({"shortest_edge": 112}, (112, 224)),
        ([224, 200], (224, 200)),
        ({"height": 96, "width": 112}, (96, 112)),
    ],
)
def test_sizes_of_a_preprocessor(copy: Path, size: Any, shape: tuple[int, int]) -> None:
    change_preprocessor(copy, size=size)
    model = autogaze_cli.load_model(copy)
    video = model.preprocess(np.zeros((1, 50, 100, 3), np.uint8))
    assert tuple(video.shape[-2:]) == shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": None}, "size has neither shortest_edge nor height"),
        ({"size": 0}, "size is 0, not an integer of at least 1"),
        ({"size": -224}, "size"),
        ({"size": True}, "size"),
        ({"size": 1 << 20}, "size"),
        ({"size": "224"}, "size"),
        ({"size": [224]}, r"size is \[224\], not a list of length at least 2"),
        ({"size": [224, 0.5]}, r"size\[1\] is 0\.5, not an integer"),
        ({"size": {}}, "size has neither"),
        ({"size": {"shortest_edge": 0.5}}, "size.* not an integer"),
        ({"do_center_crop": 1}, "do_center_crop is 1, not true or false"),
        ({"do_resize": "no"}, "do_resize is 'no', not true or false"),
        ({"do_center_crop": True, "crop_size": [224]}, "crop_size .* not a list of length"),
        (
            {"do_center_crop": True, "crop_size": {"height": 0}},
            "crop_size.* not an integer of at least 1",
        ),
        ({"do_rescale": False}, "do_rescale must be True, not False"),
        ({"resample": 3}, "resample must be 2, not 3"),
        ({"rescale_factor": math.nan}, "holds NaN"),
        ({"rescale_factor": 1 / 255}, "rescale_factor .* not 1/127.5"),
        ({"image_mean": 0.5}, "image_mean is 0.5, not a list"),
        ({"image_mean": [0.5, 0.5, math.inf]}, "holds Infinity"),
        ({"image_std": [0.5, 0.5]}, "image_std .* not a list of length 3"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"image_std": [0.5, 0.5, math.nan]}, "holds NaN"),
        ({"image_std": [0.5, 0.5, "1"]}, "image_std"),
    ],
)
def test_preprocessors_that_cannot_be_run_are_refused_when_loading(
    copy: Path, changes: dict[str, Any], message: str
) -> None:
    change_preprocessor(copy, **changes)
    with pytest.raises(ModelError, match=message):
        autogaze_cli.load_model(copy)


NOISE = np.random.default_rng(5).integers(0, 256, (2, 47, 91, 3), np.uint8)


def values(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The arithmetic of the specification, 2.1 steps 3 to 5, for the published mean and std."""
    scaled = (pixels.astype(np.float64) * (1 / 127.5)).astype(np.float32) - np.float32(1)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    return ((scaled - mean) / std).transpose(0, 3, 1, 2)


def test_a_preprocessor_that_only_crops(copy: Path) -> None:
    change_preprocessor(
        copy, do_resize=False, do_center_crop=True, crop_size={"height": 20, "width": 30}
    )
    video = autogaze_cli.load_model(copy).preprocess(NOISE)
    # (47 - 20) // 2 = 13 rows above, (91 - 30) // 2 = 30 columns to the left
    np.testing.assert_array_equal(video[0].numpy(), values(NOISE[:, 13:33, 30:60]))


def test_a_preprocessor_that_resizes_and_crops(copy: Path) -> None:
    change_preprocessor(copy, size=[80, 120], do_center_crop=True, crop_size=60)
    video = autogaze_cli.load_model(copy).preprocess(NOISE)
    images = (Image.fromarray(f).resize((120, 80), Image.Resampling.BILINEAR) for f in NOISE)
    wanted = np.stack([np.asarray(image)[10:70, 30:90] for image in images])
    np.testing.assert_array_equal(video[0].numpy(), values(wanted))


def test_a_preprocessor_that_leaves_frames_as_they_are(copy: Path) -> None:
    change_preprocessor(copy, do_resize=False, size=None)
    model = autogaze_cli.load_model(copy)
    np.testing.assert_array_equal(model.preprocess(NOISE)[0].numpy(), values(NOISE))
    assert model.preprocess(NOISE, size=(32, 48)).shape == (1, 2, 3, 32, 48)


def test_frames_smaller_than_the_crop_are_refused(copy: Path) -> None:
    change_preprocessor(copy, do_resize=False, do_center_crop=True)  # 224 x 224 by default
    with pytest.raises(ConfigError, match="crop_size 224 x 224 is larger than the frames, 91 x 47"):
        autogaze_cli.load_model(copy).preprocess(NOISE)


def test_the_cells_of_a_cropped_frame_lie_in_the_crop(copy: Path) -> None:
    change_preprocessor(copy, size=[100, 200], do_center_crop=True, crop_size=[50, 100])
    source = open_source(GazeSettings(mask_source="autogaze", model=str(copy), gazing_ratio=1.0))
    frame = Frame(0, Fraction(0), NOISE[0])
    ((_, trace),) = source.trace([frame])
    cells = trace.fixations
    assert len(cells) == 265  # all of them, so that they fill the crop and nothing else
    for centre, extent in ((cells.x, cells.width), (cells.y, cells.height)):
        assert (centre - extent / 2).min() == pytest.approx(0.25, abs=1e-6)
        assert (centre + extent / 2).max() == pytest.approx(0.75, abs=1e-6)
    corner = cells.select(cells.token == 0)
    assert [float(v[0]) for v in (corner.x, corner.y)] == pytest.approx([0.375, 0.375])
    assert [float(v[0]) for v in (corner.width, corner.height)] == pytest.approx([0.25, 0.25])


def test_sizes_that_the_file_leaves_out() -> None:
    # The published class's defaults, and for the decoder the published checkpoint's sizes.
    bare = GazeConfig.from_mapping({"gaze_model_config": {}})
    assert (bare.scales, bare.num_vision_tokens_each_frame) == ("224", 196)
    assert (bare.input_img_size, bare.kernel_size, bare.num_tokens) == (224, 16, 196)
    assert (bare.vision_hidden_dim, bare.vision_out_dim, bare.vision_depth) == (192, 192, 1)
    assert (bare.hidden_size, bare.intermediate_size, bare.num_hidden_layers) == (192, 384, 4)
    assert (bare.num_attention_heads, bare.num_key_value_heads, bare.head_dim) == (6, 6, 32)
    assert (bare.num_multi_token_pred, bare.rms_norm_eps, bare.rope.theta) == (1, 1e-6, 10000)
    scaled = GazeConfig.from_mapping({"scales": "32+64+112+224", "gaze_model_config": {}})
    assert scaled.layout.counts == (4, 16, 49, 196)


@pytest.mark.parametrize(
    "key",
    [
        "num_vision_tokens_each_frame",
        *(f"gaze_model_config__gaze_decoder_config__{name}" for name in ("vocab_size", "head_dim")),
        "gaze_model_config__vision_model_config__kernel_size",
        "gaze_model_config__connector_config",
    ],
)
def test_a_size_left_out_changes_nothing_where_it_is_the_default(
    copy: Path, tiny: AutoGaze, key: str
) -> None:
    change_config(copy, **{key: None})
    assert autogaze_cli.load_model(copy).config == tiny.config


def test_a_default_that_the_weights_do_not_have_is_named(copy: Path) -> None:
    change_config(copy, **{DECODER + "intermediate_size": None})  # 384, and these have 64
    with pytest.raises(ModelError, match=r"gate_proj.weight is .*\[64, 32\], not .*\[384, 32\]"):
        autogaze_cli.load_model(copy)


def gaze_of(model: AutoGaze) -> list[int]:
    ids: list[int] = model.generate(
        model.preprocess(frames()), gazing_ratio=0.1
    ).gazing_pos.tolist()
    return ids


def test_a_configuration_and_weights_kept_apart(copy: Path, tiny: AutoGaze, tmp_path: Path) -> None:
    file = Path(shutil.move(copy / "model.safetensors", tmp_path / "elsewhere.bin"))
    config = json.loads((copy / "config.json").read_text())
    preprocessor = json.loads((copy / "preprocessor_config.json").read_text())
    tensors = load_file(file)
    load = autogaze_cli.load_model
    for model in (
        load(copy, weights=file),
        load(copy / "config.json", weights=str(file)),
        load(str(copy / "config.json"), weights=file.read_bytes()),
        load(config, weights=file, preprocessor=preprocessor),
        load(config, weights=tensors, preprocessor=copy / "preprocessor_config.json"),
        load(config, weights=tensors),  # the published checkpoint's preprocessing is the same
    ):
        assert model.config == tiny.config
        assert model.preprocessing == tiny.preprocessing
        assert gaze_of(model) == gaze_of(tiny)
        assert model.sha256 in (tiny.sha256, "")
    assert load(copy, weights=file).name == str(file)


def test_what_does_not_make_a_model(copy: Path, tmp_path: Path) -> None:
    load, content = autogaze_cli.load_model, json.loads((copy / "config.json").read_text())
    with pytest.raises(ConfigError, match="a configuration needs weights"):
        load(content)
    with pytest.raises(ConfigError, match="weights need a configuration"):
        load(weights=copy / "model.safetensors")
    with pytest.raises(ModelError, match="the weights: is not a readable safetensors file"):
        load(copy, weights=b"no tensors")
    with pytest.raises(ModelError, match="nowhere: is not a readable safetensors file"):
        load(copy, weights=tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"no\.json: cannot be read"):
        load(tmp_path / "no.json", weights=copy / "model.safetensors")
    with pytest.raises(ConfigError, match="scales"):
        load({**content, "scales": "x"}, weights=copy / "model.safetensors")


def test_weights_that_are_not_complete(tiny: AutoGaze) -> None:
    tensors = load_file(TINY / "model.safetensors")
    decoder = "gazing_model.gaze_decoder."
    for name in ("model.norm.weight", "task_loss_prediction_head.weight"):
        del tensors[decoder + name]
    tensors["surplus"] = torch.ones(2)
    with pytest.raises(ModelError, match="2 tensors are missing"):
        autogaze_cli.load_model(TINY / "config.json", weights=tensors)
    with (
        pytest.warns(UserWarning, match=r"2 tensors are missing.*model\.norm\.weight"),
        pytest.warns(UserWarning, match="1 tensors are ignored: surplus"),
    ):
        model = autogaze_cli.load_model(TINY / "config.json", weights=tensors, strict=False)
    state = model.network.state_dict()
    assert bool((state[decoder + "model.norm.weight"] == 1).all())
    assert bool((state[decoder + "task_loss_prediction_head.weight"] == 0).all())
    for name, tensor in tensors.items():
        assert name == "surplus" or torch.equal(state[name], tensor)
    with pytest.warns(UserWarning, match="tensors are"):
        again = autogaze_cli.load_model(TINY / "config.json", weights=tensors, strict=False)
    assert gaze_of(model) == gaze_of(again)
    tensors["gazing_model.connector.pos_embed"] = torch.zeros(9, 32)
    with pytest.raises(ModelError, match=r"pos_embed is .*\[9, 32\]"):
        autogaze_cli.load_model(TINY / "config.json", weights=tensors, strict=False)


def test_no_stop_by_default_when_the_config_has_none(copy: Path) -> None:
    change_config(copy, has_task_loss_requirement_during_inference=False)
    assert autogaze_cli.load_model(copy).config.task_loss_requirement is None


def test_a_missing_model_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"no/such.*models--no--such"):
        autogaze_cli.load_model("no/such")


def test_a_hub_id_is_found_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(TINY, repository / "snapshots" / "abc")
    assert autogaze_cli.load_model("some/tiny").name == "some/tiny"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:all", "mps"])
def test_a_device_that_this_machine_lacks(device: str) -> None:
    with pytest.raises(DeviceError, match=f"device {device} is not available") as error:
        choose_device(device)
    assert error.value.hint is not None
    assert "this machine has cpu" in error.value.hint


@pytest.mark.parametrize(
    "device", ["tpu", "abc:def", "meta", "xpu", "cuda:-1", "cuda:x", "cpu:3", "CPU", "", " cpu"]
)
def test_a_device_that_no_machine_has(device: str) -> None:
    with pytest.raises(DeviceError, match=f"device {device!r} is not known"):
        choose_device(device)
    with pytest.raises(DeviceError, match=f"device {device!r} is not known"):
        GazeSettings(device=device)  # without PyTorch, for sources that need none


def test_auto_is_a_device_that_is_there() -> None:
    assert str(choose_device("auto")) in (*available_devices(), "cuda")


def test_the_default_model_is_loaded_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert autogaze_cli.load_model().name == default_model()
    monkeypatch.setattr("autogaze_cli.model.autogaze.default_model", lambda: None)
    with pytest.raises(ModelError, match="no model was named, and none is bundled"):
        autogaze_cli.load_model()


@pytest.mark.parametrize("shape", [(2, 224, 224), (224, 224, 4), (2, 10, 10, 4)])
def test_preprocess_refuses_what_are_not_frames(tiny: AutoGaze, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="uint8"):
        tiny.preprocess(np.zeros(shape, np.uint8))
    with pytest.raises(ConfigError, match="float32"):
        tiny.preprocess(np.zeros((2, 10, 10, 3), np.float32))


def test_upstream_shapes(tiny: AutoGaze) -> None:
    video = tiny.preprocess(np.stack([frames(0), frames(1)]))
    assert video.shape == (2, 2, 3, 224, 224)
    output = tiny.generate(video, gazing_ratio=[0.03, 0.1])
    assert output.num_gazing_each_frame.tolist() == [7, 26]
    assert output.gazing_pos.shape == output.if_padded_gazing.shape == (2, 33)
    assert [tuple(mask.shape) for mask in output.gazing_masks] == [
        (2, 2, count) for count in (4, 16, 49, 196)
    ]
    assert output.confidences.shape == (2, 33)


def test_budgets_as_numbers(tiny: AutoGaze) -> None:
    video = tiny.preprocess(frames())
    output = tiny.generate(video, max_gaze_tokens_each_frame=[3, 300], task_loss_requirement=None)
    assert output.num_gazing_each_frame.tolist() == [3, 265]
    with pytest.raises(ConfigError, match="3 token budgets for 2 frames"):
        tiny.generate(video, max_gaze_tokens_each_frame=[1, 2, 3])


def test_defaults_are_the_checkpoints(tiny: AutoGaze) -> None:
    video = tiny.preprocess(frames())
    left_out = tiny.generate(video)
    explicit = tiny.generate(video, gazing_ratio=0.75, task_loss_requirement=0.7)
    assert torch.equal(left_out.gazing_pos, explicit.gazing_pos)
    ratio_alone = tiny.generate(video, gazing_ratio=0.75)
    assert ratio_alone.num_gazing_each_frame.tolist() == [198, 198]


def test_cache_length_of_the_specification_example(tiny: AutoGaze) -> None:
    # Inference spec 11.4: budget 26 leaves 216 cached slots and 6 pending, then 438.
    state = tiny.new_state()
    video = tiny.preprocess(frames())
    for t, cached in enumerate((216, 438)):
        tiny.generate(video[:, t : t + 1], gazing_ratio=0.1, state=state)
        assert state.caches[0].end == cached
        assert len(state.caches[0].pending) == 6


def test_coverage_ends_a_frame(tiny: AutoGaze) -> None:
    video = tiny.preprocess(frames())
    output = tiny.generate(video, coverage_ratio=0.05, gazing_ratio=0.75)
    assert output.num_gazing_each_frame.tolist() == [10, 10]
    assert not output.if_padded_gazing.any()


def test_threads_never_change_a_result(tiny: AutoGaze) -> None:
    video = tiny.preprocess(frames())
    before = torch.get_num_threads()
    try:
        outputs = []
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            outputs.append(tiny.generate(video, gazing_ratio=0.3))
    finally:
        torch.set_num_threads(before)
    for other in outputs[1:]:
        assert torch.equal(outputs[0].gazing_pos, other.gazing_pos)
        assert torch.equal(outputs[0].confidences, other.confidences)


def test_threads_never_change_a_bit_at_the_published_sizes() -> None:
    """The convolution sums 1728 terms per step in time, which a library may split by threads."""
    model = autogaze_cli.load_model()
    video = torch.randn(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    layers = [model._decoder.layers, PackedLayers(model._decoder.weights)]
    before = torch.get_num_threads()
    outputs = []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                embedded, _ = model.network.gazing_model.embed_video(video, None)
            found = [embedded]
            for model._decoder.layers in layers:
                gaze = model.generate(video, max_gaze_tokens_each_frame=25)
                found += [gaze.gazing_pos, gaze.confidences]
            outputs.append(found)
    finally:
        torch.set_num_threads(before)
    for other in outputs[1:]:
        assert all(map(torch.equal, outputs[0], other))
