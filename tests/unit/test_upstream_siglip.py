"""The sparse SigLIP against recorded outputs, and against dense arithmetic on seeded weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.upstream.siglip import SiglipVisionConfig, SiglipVisionModel

LARGE = Path(os.environ.get("AUTOGAZE_PARITY") or "no-parity-data") / "encoder"
SCALES, GRIDS = (28, 56), (2, 4)  # patches of 14 pixels
IDS = 20  # per frame
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 48,
    "patch_size": 14,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded checkpoint in the Hub's format, with a text model that is nobody's business."""
    path = tmp_path_factory.mktemp("siglip")
    config = SiglipVisionConfig(**SIZES)
    torch.manual_seed(6)
    weights = {
        name: torch.randn(tensor.shape) * (0.3 if tensor.ndim > 1 else 0.5)
        for name, tensor in SiglipVisionModel(config).state_dict().items()
    }
    weights["text_model.final_layer_norm.weight"] = torch.ones(3)
    save_file(weights, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "siglip", "vision_config": SIZES}))
    return path


def gaze(seed: int = 7) -> tuple[Tensor, dict[str, Tensor]]:
    """Frames, and ids of two clips of three frames with padding in between."""
    torch.manual_seed(seed)
    counts, rows, flags = [5, 3, 4], [], []
    for _ in range(2):
        ids = [torch.randperm(IDS)[:n] + IDS * t for t, n in enumerate(counts)]
        padded = torch.rand(sum(counts)) < 0.3
        padded[[0, 5, 8]] = False
        rows.append(torch.cat(ids).masked_fill(padded, IDS))
        flags.append(padded)
    info = {
        "gazing_pos": torch.stack(rows),
        "if_padded_gazing": torch.stack(flags),
        "num_gazing_each_frame": torch.tensor(counts),
    }
    return torch.randn(2, 3, 3, 50, 60), info


def dense(
    weights: dict[str, Tensor], video: Tensor, info: dict[str, Tensor], see: Tensor
) -> Tensor:
    """The published way: all patches, gathered; padding carried along, hidden as keys."""
    w = {name.removeprefix("vision_model."): value for name, value in weights.items()}
    table = w["embeddings.position_embedding.weight"].t().reshape(1, -1, 3, 3)
    patches, places = [], []
    for side, grid in zip(SCALES, GRIDS, strict=True):
        x = F.interpolate(video.flatten(0, 1), (side, side), mode="bicubic", align_corners=False)
        y = F.conv2d(
            x, w["embeddings.patch_embedding.weight"], w["embeddings.patch_embedding.bias"], 14
        )
        patches.append(y.flatten(2).transpose(1, 2))
        place = F.interpolate(table, (grid, grid), mode="bicubic", align_corners=False)
        places.append(place.flatten(2).transpose(1, 2))
    every = (torch.cat(patches, 1) + torch.cat(places, 1)).reshape(2, 3 * IDS, -1)
    padded = info["if_padded_gazing"]
    ids = info["gazing_pos"].masked_fill(padded, 0)
    x = every.gather(1, ids[..., None].expand(-1, -1, every.shape[2]))
    mask = torch.zeros(2, 1, 12, 12).masked_fill(~see | padded[:, None, None], -torch.inf)
    for i in range(2):
        p = f"encoder.layers.{i}."

        def linear(y: Tensor, name: str, p: str = p) -> Tensor:
            return F.linear(y, w[f"{p}{name}.weight"], w[f"{p}{name}.bias"])

        y = F.layer_norm(x, (32,), w[p + "layer_norm1.weight"], w[p + "layer_norm1.bias"], 1e-6)
        q, k, v = (
            linear(y, f"self_attn.{name}_proj").view(2, 12, 4, 8).transpose(1, 2) for name in "qkv"
        )
        attended = (q @ k.transpose(2, 3) / 8**0.5 + mask).softmax(-1) @ v
        x = x + linear(attended.transpose(1, 2).flatten(2), "self_attn.out_proj")
        y = F.layer_norm(x, (32,), w[p + "layer_norm2.weight"], w[p + "layer_norm2.bias"], 1e-6)
        x = x + linear(F.gelu(linear(y, "mlp.fc1"), approximate="tanh"), "mlp.fc2")
    return F.layer_norm(x, (32,), w["post_layernorm.weight"], w["post_layernorm.bias"], 1e-6)


FRAME = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


@pytest.mark.parametrize(
    ("attention", "see"),
    [
        ({}, FRAME[:, None] >= FRAME),
        ({"attn_type": "causal"}, torch.ones(12, 12, dtype=torch.bool).tril()),
        ({"attn_type": "bidirectional"}, torch.ones(12, 12, dtype=torch.bool)),
        ({"frame_independent_encoding": True}, FRAME[:, None] == FRAME),
    ],
)
def test_gazed_tokens_equal_the_published_way(
    folder: Path, attention: dict[str, Any], see: Tensor
) -> None:
    video, info = gaze()
    wanted = dense(load_file(folder / "model.safetensors"), video, info, see)
    model = SiglipVisionModel.from_pretrained(
        folder, scales="28+56", attn_implementation="sdpa", **attention
    )
    with torch.no_grad():
        found = model(video, gazing_info=info)
    valid = ~info["if_padded_gazing"]
    assert found.last_hidden_state.shape == (2, 12, 32)
    torch.testing.assert_close(found.last_hidden_state[valid], wanted[valid], atol=2e-5, rtol=1e-5)
    assert not found.last_hidden_state[~valid].any()


def test_padding_and_batch_mates_change_nothing(folder: Path) -> None:
    video, info = gaze()
    model = SiglipVisionModel.from_pretrained(folder, scales=SCALES)
    with torch.no_grad():
        both = model(video, info)
        for row in range(2):
            keep = ~info["if_padded_gazing"][row]
            alone = {
                "gazing_pos": info["gazing_pos"][row, keep][None],
                "if_padded_gazing": torch.zeros(1, int(keep.sum())),
                "num_gazing_each_frame": torch.bincount(FRAME[keep]),
            }
            one = model(video[row : row + 1], alone)
            torch.testing.assert_close(
                one.last_hidden_state[0], both.last_hidden_state[row, keep], atol=1e-5, rtol=1e-5
            )
            torch.testing.assert_close(one[1][0], both.pooler_output[row], atol=1e-5, rtol=1e-5)


def test_what_is_returned(folder: Path) -> None:
    video, info = gaze()
    model = SiglipVisionModel.from_pretrained(str(folder), scales="28+56")
    output = model(video, gazing_info=info, output_hidden_states=True)
    assert list(output) == ["last_hidden_state", "pooler_output", "hidden_states", "attentions"]
    assert output[0] is output["last_hidden_state"] is output.last_hidden_state
    assert [state.shape for state in output.hidden_states] == [(2, 12, 32)] * 3
    assert len(model(video, info, return_dict=False)) == 2
    assert model(video).last_hidden_state.shape == (2, 3 * IDS, 32)  # everything
    output.last_hidden_state.sum().backward()  # it can be trained
    gradient = model.vision_model.embeddings.patch_embedding.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    nothing = {**info, "if_padded_gazing": torch.ones(2, 12, dtype=torch.bool)}
    assert not model(video, nothing).last_hidden_state.any()


def test_names_without_a_prefix_are_read_too(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("vision_model."): weight for name, weight in weights.items()}
    save_file(bare, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    one, other = (SiglipVisionModel.from_pretrained(path) for path in (folder, tmp_path))
    found = other.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in one.state_dict().items())


def test_no_padded_token_is_encoded(folder: Path) -> None:
    video, info = gaze()
    model = SiglipVisionModel.from_pretrained(folder, scales="28+56")
    rows: list[int] = []
    layer: Any = model.vision_model.encoder.layers[0]
    layer.mlp.fc1.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    model(video, info)
    assert rows == [int((~info["if_padded_gazing"]).sum())]


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    video, info = gaze()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"scales": "30+56"}, r"scales 30\+56 are not multiples of the patch size 14"),
        ({"scales": "a"}, "scales must be numbers"),
        ({"attn_type": "full"}, "attn_type must be one of block_causal, causal, bidirectional"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ConfigError, match=message):
            SiglipVisionModel.from_pretrained(folder, **arguments)
    with pytest.raises(ConfigError, match=r"ids that scales 28 have not, \d+ in a frame of 4"):
        SiglipVisionModel.from_pretrained(folder, scales="28")(video, info)
    model = SiglipVisionModel.from_pretrained(folder, scales="28+56")
    with pytest.raises(ConfigError, match=r"pixel_values must be \[b, t, 3, h, w\]"):
        model(video[0], info)
    with pytest.raises(ConfigError, match="for 1 clips of 3 frames"):
        model(video[:1], info)
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    save_file({"text_model.a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="vision weights are missing"):
        SiglipVisionModel.from_pretrained(tmp_path)
    wide = {**load_file(folder / "model.safetensors")}
    wide["vision_model.post_layernorm.bias"] = torch.ones(7)
    save_file(wide, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"post_layernorm.bias is \[7\], not \[32\]"):
        SiglipVisionModel.from_pretrained(tmp_path)
    wide["vision_model.post_layernorm.bias"] = torch.full((32,), torch.nan)
    save_file(wide, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"post_layernorm.bias has values that are not finite"):
        SiglipVisionModel.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no such model"):
        SiglipVisionModel.from_pretrained(tmp_path / "nowhere")


@pytest.mark.skipif(not LARGE.is_dir(), reason="AUTOGAZE_PARITY is not set")
@pytest.mark.parametrize(
    "name", json.loads((LARGE / "manifest.json").read_text()) if LARGE.is_dir() else []
)
def test_recorded_outputs(name: str) -> None:
    entry = json.loads((LARGE / "manifest.json").read_text())[name]
    case = load_file(LARGE / "cases" / name / "case.safetensors")
    model = SiglipVisionModel.from_pretrained(
        LARGE / "checkpoints" / entry["checkpoint"],
        scales=entry["scales"],
        frame_independent_encoding=entry["attend"] == "frame",
    )
    side = int(entry["scales"].split("+")[-1])
    shape = (entry["batch"], entry["frames"], 3, side, side)
    b, t, c, i, j = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"
    )
    wave = torch.sin(0.013 * (i + 1) * (c + 1) + 0.021 * (j + 1) + 0.7 * t + 1.3 * b)
    video = (0.9 * wave + 0.5 * torch.cos(0.05 * (i - j) + t)).float()
    with torch.no_grad():
        output = model(video, gazing_info=case, output_hidden_states=True)
    valid = ~case["if_padded_gazing"]
    torch.testing.assert_close(
        output.last_hidden_state[valid],
        case["last_hidden_state"][valid],
        atol=2e-5 * entry["std"],
        rtol=0,
    )
    torch.testing.assert_close(
        output.hidden_states[0][valid], case["embeddings"][valid], atol=1e-5, rtol=0
    )
    if "pooler_output" in case:
        torch.testing.assert_close(output.pooler_output, case["pooler_output"], atol=2e-5, rtol=0)
