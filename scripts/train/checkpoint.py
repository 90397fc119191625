"""A new network, its checkpoint in the published layout, and the state training resumes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_cli.model.catalog import CONFIG, PREPROCESSOR, WEIGHTS
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork
from scripts.train.data import MEAN, STD


def published_config(
    hidden: int = 192, layers: int = 4, heads: int = 6, requirement: float | None = None
) -> dict[str, Any]:
    """``config.json`` of a model with the published one's structure.

    Args:
        hidden: Width of vision model and decoder.
        layers: Of the decoder.
        heads: Of its attention.
        requirement: Predicted loss at which gazing stops; None = never.
    """
    tokens, scales = 265, "32+64+112+224"
    decoder = {
        "model_type": "llama",
        "vocab_size": tokens + 1,
        "eos_token_id": tokens,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "num_multi_token_pred": 10,
        "tie_word_embeddings": False,
        "use_cache": True,
    }
    vision = {
        "hidden_dim": hidden,
        "out_dim": hidden,
        "depth": 1,
        "kernel_size": 16,
        "temporal_patch_size": 1,
        "trunk_temporal_kernel_size": 3,
        "trunk_spatial_kernel_size": 3,
    }
    return {
        "architectures": ["AutoGaze"],
        "model_type": "autogaze",
        "scales": scales,
        "num_vision_tokens_each_frame": tokens,
        "max_num_frames": 16,
        "attn_mode": "sdpa",
        "use_flash_attn": False,
        "gazing_ratio_config": {
            "sample_strategy_during_training": "fixed",
            "sample_strategy_during_inference": "fixed",
            "fixed": {"gazing_ratio": 0.75},
        },
        "gazing_ratio_each_frame_config": {
            "sample_strategy_during_training": "self",
            "sample_strategy_during_inference": "uniform",
        },
        "has_task_loss_requirement_during_training": False,
        "has_task_loss_requirement_during_inference": requirement is not None,
        "task_loss_requirement_config": {
            "sample_strategy_during_inference": "fixed",
            "fixed": {"task_loss_requirement": 0.7 if requirement is None else requirement},
        },
        "gaze_model_config": {
            "input_img_size": 224,
            "num_vision_tokens_each_frame": tokens,
            "attn_mode": "sdpa",
            "vision_model_config": vision,
            "connector_config": {"hidden_dim": hidden, "num_tokens": 196},
            "gaze_decoder_config": decoder,
        },
    }


PREPROCESSING = {
    "image_processor_type": "AutoGazeImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 2,
    "do_center_crop": False,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 127.5,
    "offset": True,
    "do_normalize": True,
    "image_mean": list(MEAN),
    "image_std": list(STD),
}


def new_network(config: GazeConfig, seed: int) -> AutoGazeNetwork:
    """A network to start training from.

    The position table starts as waves over rows and columns, and an id's embedding as the mean of
    those its cell covers, so that cells and pixels are related from the first step on.
    """
    torch.manual_seed(seed)
    network = AutoGazeNetwork(config)
    model = network.gazing_model
    decoder = model.gaze_decoder
    residual = (2 * config.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2:
                fan_in = parameter[0].numel()
                scale = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                parameter.normal_(0, 0.7 * scale * fan_in**-0.5)
            elif name.endswith("bias"):
                parameter.zero_()
        waves = _waves(config.vision_grid, config.hidden_size)
        model.connector.pos_embed.copy_(waves)
        embed = decoder.model.embed_tokens.weight
        embed.normal_(0, 0.3)
        cells = config.layout.cells(torch.arange(config.num_vision_tokens_each_frame).numpy())
        at = torch.arange(config.vision_grid)
        for index, (grid, row, col) in enumerate(zip(*cells, strict=True)):
            rows = at * int(grid) // config.vision_grid == int(row)
            cols = at * int(grid) // config.vision_grid == int(col)
            embed[index] += waves[(rows[:, None] & cols).flatten()].mean(0)
        decoder.lm_head.weight.mul_(0.1)
        decoder.task_loss_prediction_head.weight.mul_(0.1)
    return network


def _waves(grid: int, width: int) -> Tensor:
    """Sines and cosines of row and column, ``[grid * grid, width]``, of size about 0.7."""
    quarter = width // 4
    frequency = 0.15 * 20 ** (torch.arange(quarter) / max(quarter - 1, 1))
    angle = torch.arange(grid)[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)  # [grid, width / 2]
    both = [wave[:, None].expand(-1, grid, -1), wave[None].expand(grid, -1, -1)]
    waves = torch.cat(both, dim=2).flatten(0, 1)
    return F.pad(waves, (0, width - waves.shape[1]))


def save_checkpoint(folder: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write config, weights and preprocessor as published."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((CONFIG, config), (PREPROCESSOR, PREPROCESSING)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    save_file(plain, folder / WEIGHTS, metadata={"format": "pt"})


class Average:
    """A running mean of the weights, short at first."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        now = list(module.state_dict().values())
        torch._foreach_lerp_(list(self.weights.values()), now, 1 - decay)


STATE = "state.json"
PARTS = ("weights", "moment1", "moment2")


def save_state(folder: Path, parts: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
    """Write what training resumes from, beside the checkpoint of the average in ``folder``."""
    for part, tensors in parts.items():
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, folder / f"{part}.safetensors")
    (folder / STATE).write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def load_state(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The parts ``save_state`` wrote, ``average`` too, and the numbers; moments may be missing."""
    found = {
        part: load_file(path)
        for part in PARTS
        if (path := folder / f"{part}.safetensors").is_file()
    }
    found["average"] = load_file(folder / WEIGHTS)
    return found, json.loads((folder / STATE).read_text(encoding="utf-8"))
