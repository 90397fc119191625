"""The published interface of the model: outputs, streams, weights that change, what is refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autogaze_cli.errors import AutogazeError, ConfigError, ModelError
from autogaze_cli.model.autogaze import load_model
from autogaze_cli.model.checkpoint import read_network
from autogaze_cli.upstream import accelerate, verify
from autogaze_cli.upstream.config import AutoGazeConfig
from autogaze_cli.upstream.model import ROWS, AutoGaze
from autogaze_cli.upstream.processor import AutoGazeImageProcessor

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "parity-tiny"
LARGE = Path(os.environ.get("AUTOGAZE_PARITY") or "no-parity-data")
SMALL_CASES = sorted(path.name for path in (ROOT / "fixtures" / "parity").iterdir())
LARGE_CASES = ["full-b1-t16-stop", "full-b1-t2-wide-list", "full-b2-t4-stream", "full-b4-t4-stop"]
PASTS = ("past_key_values", "past_inputs_embeds", "past_attention_mask", "past_conv_values")


def tiny(**more: Any) -> AutoGaze:
    return AutoGaze.from_pretrained(TINY, **more)


class Case:
    """A recorded run of the published package."""

    def __init__(self, name: str) -> None:
        small = ROOT / "fixtures" / "parity" / name
        folder = small if small.is_dir() else LARGE / "cases" / name
        if not folder.is_dir():
            pytest.skip(f"AUTOGAZE_PARITY has no case {name}")
        entry = json.loads((folder / "case.json").read_text())
        s = entry["settings"]
        here = ROOT / "fixtures" / entry["checkpoint"]
        self.checkpoint = here if here.is_dir() else LARGE / "checkpoints" / entry["checkpoint"]
        self.published = load_file(folder / "outputs.safetensors")
        self.alone = load_file(folder / "outputs_alone.safetensors")
        self.settings = {
            key: s[key]
            for key in (
                "gazing_ratio", "task_loss_requirement", "target_scales", "target_patch_size"
            )
        }  # fmt: skip
        transform = AutoGazeImageProcessor.from_pretrained(
            self.checkpoint, size=s["processor_size"]
        )
        clips = [list(clip) for clip in np.load(folder / "frames.npz")["frames"]]
        self.video: Tensor = transform(clips, return_tensors="pt").pixel_values


@cache
def stopping() -> Case:
    return Case("tiny-b4-t4-stop")


@pytest.mark.parametrize("name", SMALL_CASES + LARGE_CASES)
def test_published_rows_give_the_published_outputs(name: str) -> None:
    case = Case(name)
    model = AutoGaze.from_pretrained(case.checkpoint, rows="published")
    wanted, found = case.published, model({"video": case.video}, **case.settings)
    assert torch.equal(found["gazing_pos"], wanted["gazing_pos"])
    assert torch.equal(found["if_padded_gazing"], wanted["if_padded_gazing"].bool())
    assert torch.equal(found["num_gazing_each_frame"], wanted["num_gazing_each_frame"])
    for scale, mask in enumerate(found["gazing_mask"]):
        assert mask.dtype == torch.float32
        assert torch.equal(mask, wanted[f"gazing_mask_{scale}"].float())
    if case.settings["target_scales"]:
        assert "log_action_probs" not in found
        if case.settings["task_loss_requirement"] is not None:
            assert found["task_loss_requirement"].shape == (4, 2)  # of the tiles
    elif "teacher_log_prob" in wanted:
        scores = found["log_action_probs"], found["task_loss_prediction"]
        torch.testing.assert_close(
            scores[0].detach(), wanted["teacher_log_prob"], atol=1e-3, rtol=0
        )
        torch.testing.assert_close(
            scores[1].detach(), wanted["teacher_task_loss"], atol=1e-4, rtol=0
        )


def test_rows_are_independent_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    case = stopping()
    found = tiny()({"video": case.video}, **case.settings)
    for row in range(4):
        valid = found["gazing_pos"][row][~found["if_padded_gazing"][row]]
        alone = case.alone[f"gazing_pos_r{row}"]
        assert torch.equal(valid, alone[~case.alone[f"if_padded_gazing_r{row}"].bool()])
    monkeypatch.setenv(ROWS, "published")
    found = tiny()({"video": case.video}, **case.settings)
    assert torch.equal(found["gazing_pos"], case.published["gazing_pos"])
    monkeypatch.setenv(ROWS, "coupled")
    with pytest.raises(ConfigError, match="'independent' or 'published', not 'coupled'"):
        tiny()


def test_attributes_that_scripts_read() -> None:
    model = tiny(device_map="cpu", use_flash_attn=False)
    assert isinstance(model, nn.Module)
    assert not model.training
    assert model.config.scales == "32+64+112+224"
    assert model.config.max_num_frames == 16
    assert model.config.gaze_model_config.gaze_decoder_config.num_multi_token_pred == 10
    assert model.config.gazing_ratio_config["fixed"]["gazing_ratio"] == 0.75
    assert model.scales == [32, 64, 112, 224]
    assert model.num_vision_tokens_each_frame == 265
    assert model.num_vision_tokens_each_scale_each_frame == [4, 16, 49, 196]
    assert model.frame_sampling_rate == 1
    assert model.gazing_model.input_img_size == 224
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.state_dict().keys() == load_file(TINY / "model.safetensors").keys()


@pytest.mark.parametrize(
    ("given", "requirement", "longest"),
    [
        ({}, 0.7, 198),
        ({"gazing_ratio": 0.1}, None, 26),
        ({"task_loss_requirement": -1.0}, -1.0, 265),
        ({"gazing_ratio": 0.03, "task_loss_requirement": 0.7}, 0.7, 7),
        ({"gazing_ratio": [0.03, 0.1]}, None, 26),
        ({"gazing_ratio": torch.tensor([0.03, 0.1])}, None, 26),
    ],
)
def test_what_ends_a_frame(given: Any, requirement: float | None, longest: int) -> None:
    found = tiny()({"video": stopping().video[:2, :2]}, generate_only=True, **given)
    assert found["has_task_loss_requirement"] == (requirement is not None)
    if requirement is None:
        assert found["task_loss_requirement"] is None
        assert int(found["num_gazing_each_frame"][1]) == longest
    else:
        assert found["task_loss_requirement"].tolist() == [[pytest.approx(requirement)] * 2] * 2
        assert int(found["num_gazing_each_frame"].max()) <= longest
    assert found["log_action_probs"] is None
    assert found["past_key_values"] is None


def stream(model: AutoGaze, video: Tensor, past: Any = None, **more: Any) -> dict[str, Any]:
    past = dict.fromkeys(PASTS) if past is None else past
    found: dict[str, Any] = model(
        {"video": video}, generate_only=True, use_cache=True, **past, **more
    )
    return found


def past_of(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name.replace("inputs", "input")] for name in PASTS}


@pytest.mark.parametrize("rows", ["independent", "published"])
@pytest.mark.parametrize("name", ["tiny-b4-t4-stop", "tiny-b1-t2-tiles392"])
def test_frame_by_frame_equals_the_whole_clip(name: str, rows: Any) -> None:
    case, model = Case(name), tiny(rows=rows)
    whole = model({"video": case.video}, generate_only=True, **case.settings)
    past, parts = None, []
    for t in range(case.video.shape[1]):
        found = stream(model, case.video[:, t : t + 1], past, **case.settings)
        parts.append(found["gazing_pos"] + whole["num_vision_tokens_each_frame"] * t)
        past = past_of(found)
    assert torch.equal(torch.cat(parts, dim=1), whole["gazing_pos"])


def test_a_copy_of_the_past_forks_the_stream() -> None:
    model, video = tiny(), stopping().video[:1]
    first = stream(model, video[:, :1])
    with torch.inference_mode():
        inside = copy.deepcopy(past_of(first))
    forks = [past_of(first), copy.deepcopy(past_of(first)), inside]
    apart = {name: copy.deepcopy(value) for name, value in past_of(first).items()}
    found = [stream(model, video[:, 1:2], past)["gazing_pos"] for past in [*forks, apart]]
    assert all(torch.equal(other, found[0]) for other in found)
    with pytest.raises(ConfigError, match="continued from here already"):
        stream(model, video[:, 1:2], past_of(first))


def test_what_a_stream_refuses() -> None:
    model, video = tiny(), stopping().video[:1, :1]
    past = past_of(stream(model, video))
    with pytest.raises(ConfigError, match="must all be what one call returned"):
        stream(model, video, {**past, "past_conv_values": None})
    with pytest.raises(ConfigError, match="generate_only=True"):
        model({"video": video}, use_cache=True, **past)
    with pytest.raises(ConfigError, match="1 streams, the video 4"):
        stream(model, stopping().video[:, :1], past)


def test_results_can_be_changed_in_place() -> None:
    found = tiny()({"video": stopping().video[:1, :1]}, gazing_ratio=0.03)
    found["gazing_pos"][found["if_padded_gazing"]] = 0
    found["gazing_mask"][0] += 1
    assert not any(found[name].is_inference() for name in ("gazing_pos", "log_action_probs"))


def test_a_given_gaze_is_scored() -> None:
    case, model = stopping(), tiny()
    names = ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
    gaze = {name: case.published[name] for name in names}
    found = model({"video": case.video}, gazing_info=gaze)
    torch.testing.assert_close(
        found["log_action_probs"].detach(), case.published["teacher_log_prob"], atol=1e-3, rtol=0
    )
    assert torch.equal(found["gazing_mask"][3], case.published["gazing_mask_3"].float())
    with pytest.raises(ConfigError, match="gazing_info has gazing_pos"):
        model({"video": case.video}, gazing_info={**gaze, "num_gazing_each_frame": torch.ones(4)})

    with pytest.raises(ConfigError, match="gazing_info cannot be used with target_scales"):
        model({"video": case.video}, gazing_info=gaze, use_cache=True)


def test_autocast_changes_nothing() -> None:
    model, inputs = tiny(), {"video": stopping().video[:1]}
    wanted = model(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(inputs)
    assert torch.equal(found["gazing_pos"], wanted["gazing_pos"])
    assert torch.equal(found["log_action_probs"], wanted["log_action_probs"])


def test_scores_have_no_gradients_and_say_so() -> None:
    model, inputs = tiny(), {"video": stopping().video[:1, :1]}
    loss = model(inputs, gazing_ratio=0.03)["log_action_probs"].sum()
    with pytest.raises(AutogazeError, match="gazes and does not train"):
        loss.backward()
    with torch.no_grad():
        assert not model(inputs, gazing_ratio=0.03)["log_action_probs"].requires_grad
    frozen = tiny().requires_grad_(False)
    assert not frozen(inputs, gazing_ratio=0.03)["log_action_probs"].requires_grad


def test_training_mode_gazes_greedily_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autogaze_cli.upstream.model._TOLD", False)
    model, inputs = tiny(), {"video": stopping().video[:1, :1]}
    wanted = model(inputs, gazing_ratio=0.1)["gazing_pos"]
    model.train()
    with pytest.warns(UserWarning, match="samples in training mode"):
        assert torch.equal(model(inputs, gazing_ratio=0.1)["gazing_pos"], wanted)
    model(inputs, gazing_ratio=0.1)  # a second warning would be an error


def other_weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    weights = load_file(TINY / "model.safetensors")
    return {name: w + 0.2 * w.std() * torch.randn_like(w) for name, w in weights.items()}


def test_the_engine_follows_the_weights() -> None:
    model, inputs = tiny(), {"video": stopping().video[:1, :1]}
    before = model(inputs, gazing_ratio=0.3)["gazing_pos"]
    twin, restored = copy.deepcopy(model), pickle.loads(pickle.dumps(model))  # noqa: S301
    model.load_state_dict(other_weights())
    after = model(inputs, gazing_ratio=0.3)["gazing_pos"]
    assert not torch.equal(after, before)
    for same in (twin, restored):
        assert torch.equal(same(inputs, gazing_ratio=0.3)["gazing_pos"], before)
    model.to(torch.bfloat16)
    assert model.engine.dtype == model.dtype == torch.bfloat16
    assert model(inputs, gazing_ratio=0.3)["gazing_pos"].shape == after.shape
    assert tiny(torch_dtype="float16").dtype == torch.float16
    assert tiny(torch_dtype=torch.bfloat16).engine.dtype == torch.bfloat16


class Configured:
    """A configuration that is an object, as that of ``transformers`` is."""

    def to_dict(self) -> dict[str, Any]:
        return dict(json.loads((TINY / "config.json").read_text()))


class Published(nn.Module):
    """Stands for a loaded published model: its weights under its names, and its configuration."""

    def __init__(self) -> None:
        super().__init__()
        network, _, _ = read_network(TINY)
        self.gazing_model = network.gazing_model
        self.register_buffer("inv_freq", torch.zeros(3))
        self.config: Any = Configured()

    def forward(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("the published decoding ran")


def test_a_loaded_published_model_is_accelerated() -> None:
    case, model = stopping(), Published().eval()
    assert accelerate(model, rows="published") is model
    found = model({"video": case.video}, **case.settings)
    assert torch.equal(found["gazing_pos"], case.published["gazing_pos"])
    assert torch.equal(found["if_padded_gazing"], case.published["if_padded_gazing"].bool())
    # A copy has weights of its own, and the original goes on with its new ones.
    twin = copy.deepcopy(model)
    model.load_state_dict(other_weights(), strict=False)
    fresh = tiny()
    fresh.load_state_dict(other_weights())
    inputs = {"video": case.video[:1]}
    wanted = fresh(inputs, gazing_ratio=0.3)["gazing_pos"]
    assert torch.equal(model(inputs, gazing_ratio=0.3)["gazing_pos"], wanted)
    again = twin({"video": case.video}, **case.settings)
    assert torch.equal(again["gazing_pos"], case.published["gazing_pos"])
    assert model.to(torch.bfloat16)(inputs, gazing_ratio=0.3)["gazing_pos"].shape == wanted.shape


def test_what_cannot_be_accelerated() -> None:
    with pytest.raises(ModelError, match="Linear without an AutoGaze configuration"):
        accelerate(nn.Linear(2, 2))
    model = Published()
    del model.gazing_model.connector
    with pytest.raises(ModelError, match=r"1 weights .*connector.pos_embed"):
        accelerate(model)
    model.config = {"model_type": "siglip"}
    with pytest.raises(ModelError, match="Published is not an AutoGaze model"):
        accelerate(model)


def test_an_untrained_model_can_be_built_from_a_configuration() -> None:
    model = AutoGaze(AutoGazeConfig.from_pretrained(TINY)).eval()
    found = model({"video": torch.zeros(1, 1, 3, 224, 224)}, gazing_ratio=0.03)
    assert found["gazing_pos"].shape == (1, 7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"device_map": "cuda:99"}, AutogazeError, "cuda:99 is not available"),
        ({"device_map": {"a": "cpu", "b": "cuda:0"}}, ConfigError, "must name one device"),
        ({"torch_dtype": "int8"}, ConfigError, "torch_dtype must be a floating-point type"),
    ],
)
def test_what_the_loader_refuses(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        tiny(**arguments)
    assert tiny(device_map={"": "cpu"}).device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")
@pytest.mark.parametrize("rows", ["independent", "published"])
def test_a_gpu_gives_the_same(rows: Any) -> None:
    case, model = stopping(), tiny(rows=rows).cuda()
    assert model.device.type == "cuda"
    found = model({"video": case.video.cuda()}, **case.settings)
    wanted = tiny(rows=rows)({"video": case.video}, **case.settings)
    for name in ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame"):
        assert found[name].is_cuda
        assert torch.equal(found[name].cpu(), wanted[name])
    torch.testing.assert_close(
        found["log_action_probs"].detach().cpu(),
        wanted["log_action_probs"].detach(),
        atol=1e-3,
        rtol=0,
    )
    for dtype in (torch.float16, torch.bfloat16):
        half = model.to(dtype)({"video": case.video.cuda().to(dtype)}, gazing_ratio=0.1)
        assert half["gazing_pos"].shape == (4, 104)
        assert half["log_action_probs"].dtype == torch.float32


def test_verify_tells_where_rows_differ_and_why() -> None:
    found = verify(TINY, ROOT / "fixtures" / "dog.mp4")
    assert (found.tiles, found.frames) == (4, 16)
    assert found.differences
    for difference in found.differences:
        assert difference.independent != difference.published
        # What couples tiles shows in later frames alone.
        assert difference.coupled_in is not None
        assert difference.coupled_in < difference.frame
    text = str(found)
    assert f"{len(found.differences)} of 64 frames of tiles differ" in text
    assert "it ended while other tiles went on" in text
    nothing = verify(TINY, ROOT / "fixtures" / "dog.mp4", gazing_ratio=0.02)
    assert nothing.differences == ()
    assert load_model(TINY).config.task_loss_requirement == pytest.approx(0.7)
