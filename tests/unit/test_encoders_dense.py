"""Every finest patch gazed at: the result of the library's own dense model, family by family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autogaze_cli.encoders import load_encoder

hf: Any = pytest.importorskip("transformers", reason="the library of dense models is not installed")

SIDE, PATCH = 64, 16
COMMON = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
}
MLP = {**COMMON, "intermediate_size": 80}


def siglip() -> Any:
    return hf.SiglipVisionModel(hf.SiglipVisionConfig(**MLP))


def siglip_whole() -> Any:
    text = {
        "hidden_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 80,
        "vocab_size": 99,
        "projection_size": 48,
    }
    return hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=MLP))


def clip() -> Any:
    return hf.CLIPVisionModel(hf.CLIPVisionConfig(**MLP))


def clip_projected() -> Any:
    return hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**MLP))


def dinov2() -> Any:
    return hf.Dinov2Model(hf.Dinov2Config(**COMMON))


def dinov2_registers() -> Any:
    config = hf.Dinov2WithRegistersConfig(**COMMON, use_swiglu_ffn=True, num_register_tokens=3)
    return hf.Dinov2WithRegistersModel(config)


def vit() -> Any:
    return hf.ViTModel(hf.ViTConfig(**MLP))


def vit_classifier() -> Any:
    return hf.ViTForImageClassification(hf.ViTConfig(**MLP))


def videomae() -> Any:
    return hf.VideoMAEModel(hf.VideoMAEConfig(**MLP, num_frames=4, tubelet_size=2))


def videomae_normed() -> Any:
    config = hf.VideoMAEConfig(**MLP, num_frames=4, tubelet_size=2, use_mean_pooling=False)
    return hf.VideoMAEModel(config)


def saved(make: Any, folder: Path) -> Any:
    """A model with random weights, none of them 0 or 1, saved by the library itself."""
    torch.manual_seed(7)
    model = make().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3 if "norm" in name or "lambda" in name else 0.08)
    model.save_pretrained(folder)
    return model


def dense_gaze(frames: int, clips: int) -> dict[str, Tensor]:
    n = (SIDE // PATCH) ** 2
    return {
        "gazing_pos": torch.arange(frames * n).expand(clips, -1),
        "if_padded_gazing": torch.zeros(clips, frames * n, dtype=torch.bool),
        "num_gazing_each_frame": torch.full((frames,), n),
    }


def pixels(clips: int, frames: int) -> Tensor:
    return torch.randn(clips, frames, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(clips))


IMAGES = [
    siglip,
    siglip_whole,
    clip,
    clip_projected,
    dinov2,
    dinov2_registers,
    vit,
    vit_classifier,
]


@pytest.mark.parametrize("make", IMAGES, ids=lambda make: make.__name__)
def test_an_image_model_of_all_patches_is_the_dense_one(make: Any, tmp_path: Path) -> None:
    model = saved(make, tmp_path)
    encoder = load_encoder(tmp_path, scales=SIDE, attend="frame")
    video = pixels(2, 3)
    output = encoder(video, dense_gaze(3, 2))
    inner = next((getattr(model, n) for n in ("vision_model", "vit") if hasattr(model, n)), model)
    with torch.inference_mode():
        wanted = inner(video.flatten(0, 1))
    k = encoder.network.sizes.prefix
    hidden = wanted.last_hidden_state
    assert hidden.std() > 0.1
    assert torch.allclose(output.last_hidden_state, hidden[:, k:].flatten(0, 1), atol=1e-5)
    assert torch.allclose(output.prefix.flatten(0, 1), hidden[:, :k], atol=1e-5)
    if wanted.pooler_output is not None:
        features = output.frame_features.flatten(0, 1)
        assert torch.allclose(features, wanted.pooler_output, atol=1e-5)


@pytest.mark.parametrize("make", [videomae, videomae_normed], ids=lambda make: make.__name__)
def test_a_video_model_of_all_patches_is_the_dense_one(make: Any, tmp_path: Path) -> None:
    model = saved(make, tmp_path)
    encoder = load_encoder(tmp_path, scales=SIDE, attend="clip")
    video = pixels(2, 4)
    output = encoder(video, dense_gaze(4, 2))
    with torch.inference_mode():
        wanted = model(video).last_hidden_state
    assert output.last_hidden_state.shape == (2 * 2 * 16, 48)
    assert torch.allclose(output.last_hidden_state, wanted.flatten(0, 1), atol=1e-5)
    assert torch.allclose(output.clip_features, wanted.mean(dim=1), atol=1e-5)


def test_a_video_model_takes_the_union_of_a_tubelet(tmp_path: Path) -> None:
    saved(videomae, tmp_path)
    encoder = load_encoder(tmp_path, scales=SIDE, attend="clip")
    gaze = {
        "gazing_pos": torch.tensor([[5, 3, 16 + 3, 16 + 9, 32 + 0, 48 + 0]]),
        "if_padded_gazing": torch.zeros(1, 6, dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor([2, 2, 1, 1]),
    }
    output = encoder(pixels(1, 4), gaze)
    assert output.coords[:, 1:].tolist() == [[0, 1, 1], [0, 0, 3], [0, 2, 1], [1, 0, 0]]


def test_registers_are_resized_as_their_model_does(tmp_path: Path) -> None:
    model = saved(dinov2_registers, tmp_path)
    encoder = load_encoder(tmp_path, scales=32, attend="frame")
    video = torch.randn(1, 1, 3, 32, 32)
    output = encoder(
        video,
        {
            "gazing_pos": torch.arange(4)[None],
            "if_padded_gazing": torch.zeros(1, 4, dtype=torch.bool),
            "num_gazing_each_frame": torch.tensor([4]),
        },
    )
    with torch.inference_mode():
        wanted = model(video[0]).last_hidden_state[0]
    assert torch.allclose(output.last_hidden_state, wanted[4:], atol=1e-5)
