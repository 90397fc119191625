"""Make parity fixtures: seeded checkpoints, clips, and the outputs that an engine must give.

    python -m scripts.make_parity                     rewrite fixtures/seeded/*.safetensors
    python -m scripts.make_parity --check             compare them instead; exit 1 if they differ
    python -m scripts.make_parity narrow-stop -o out  write checkpoint, frames and outputs to out/

The cases are those of fixtures/seeded/manifest.toml. The outputs are computed by
scripts/parity_reference.py from the specification, in float64; a case whose decisions are too close
for float32 is refused, and needs another seed. Weights and pixels are made of the raw bits of a
generator, which are the same on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save, save_file

from scripts.parity_reference import Gaze, Reference, preprocessed

FOLDER = Path(__file__).parents[1] / "fixtures" / "seeded"
PREPROCESSOR = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 127.5,
    "offset": True,
    "do_normalize": True,
    "resample": 2,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
SMALLEST_MARGIN = 1e-3
"""Of logits and predicted losses; float32 differs from float64 by about a hundredth of that."""

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of the manifest.

    Attributes:
        name: Of the case.
        config: Its model's ``config.json``.
        preprocessor: Its ``preprocessor_config.json``.
        weights: Its model's tensors, float32.
        frames: uint8 ``[rows, t, h, w, 3]``.
        budgets: Tokens per frame, ``[t]``.
        task_loss_requirement: Where frames end early; None = nowhere.
    """

    name: str
    config: dict[str, Any]
    preprocessor: dict[str, Any]
    weights: Tensors
    frames: NDArray[np.uint8]
    budgets: list[int]
    task_loss_requirement: float | None

    def sha256(self) -> dict[str, str]:
        """Of the weights' file and of the frames, hexadecimal."""
        parts = {"weights": save(self.weights), "frames": self.frames.tobytes()}
        return {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}

    def outputs(self) -> tuple[Tensors, dict[str, str]]:
        """The expected outputs by name, and what is recorded of them.

        Raises:
            SystemExit: A decision is too close.
        """
        model = Reference(self.config, self.weights)
        rows = [
            model.gaze(
                preprocessed(row, self.preprocessor), self.budgets, self.task_loss_requirement
            )
            for row in self.frames
        ]
        margins = {
            "smallest_margin": min(min(row.margins) for row in rows),
            "smallest_stop_margin": min((m for row in rows for m in row.stop_margins), default=1.0),
        }
        if min(margins.values()) < SMALLEST_MARGIN:
            sys.exit(f"{self.name}: too close for float32, choose another seed: {margins}")
        notes = {name: f"{value:.4g}" for name, value in margins.items()}
        tensors: Tensors = {}
        for number, row in enumerate(rows):
            tensors |= self._row(row, number)
        return tensors, notes | {f"sha256_{name}": value for name, value in self.sha256().items()}

    def _row(self, gaze: Gaze, number: int) -> Tensors:
        """The outputs of one row: ids of frame ``t`` begin at ``N * t`` (4.1)."""
        eos = self.config["num_vision_tokens_each_frame"]
        ids = [token + eos * t for t, frame in enumerate(gaze.ids) for token in frame]
        padded = [token == eos for frame in gaze.ids for token in frame]
        return {
            f"gazing_pos_r{number}": np.array(ids, np.int64),
            f"if_padded_gazing_r{number}": np.array(padded, np.uint8),
            f"num_gazing_each_frame_r{number}": np.array([len(f) for f in gaze.ids], np.int64),
            f"confidences_r{number}": np.concatenate(gaze.confidences).astype(np.float32),
        }

    def save_model(self, folder: Path) -> None:
        """Write its checkpoint."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n")
        text = json.dumps(self.preprocessor, indent=1) + "\n"
        (folder / "preprocessor_config.json").write_text(text)
        save_file(self.weights, folder / "model.safetensors")


def read_cases(manifest: Path = FOLDER / "manifest.toml") -> dict[str, Case]:
    """The cases of a manifest, by name."""
    document = tomllib.loads(manifest.read_text(encoding="utf-8"))
    models = {name: (_config(m), m["seed"], m["loss"]) for name, m in document["models"].items()}
    return {
        name: Case(
            name=name,
            config=models[entry["model"]][0],
            preprocessor=PREPROCESSOR
            | {"size": {"shortest_edge": document["models"][entry["model"]]["input_img_size"]}},
            weights=seeded_weights(*models[entry["model"]]),
            frames=seeded_clip(**entry["clip"]),
            budgets=entry["budgets"],
            task_loss_requirement=entry.get("task_loss_requirement"),
        )
        for name, entry in document["cases"].items()
    }


def _config(model: Mapping[str, Any]) -> dict[str, Any]:
    """A ``config.json``."""
    kernels = {"temporal_patch_size": 1, "trunk_temporal_kernel_size": 3}
    return {
        "model_type": "autogaze",
        "scales": model["scales"],
        "num_vision_tokens_each_frame": model["num_vision_tokens_each_frame"],
        "max_num_frames": 16,
        "has_task_loss_requirement_during_inference": False,
        "gaze_model_config": {
            "input_img_size": model["input_img_size"],
            "vision_model_config": model["vision"] | kernels | {"trunk_spatial_kernel_size": 3},
            "gaze_decoder_config": {"hidden_act": "silu", "rope_scaling": None} | model["decoder"],
        },
    }


def uniform(bits: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers from -1 to 1, of the generator's raw bits."""
    raw = bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
    numbers: NDArray[np.float64] = raw.astype(np.float64).reshape(shape)
    return numbers * 2.0**-52 - 1


def draw(bits: np.random.PCG64, *shape: int, std: float) -> NDArray[np.float64]:
    """Numbers around 0."""
    return uniform(bits, shape) * (3**0.5 * std)


def mixing(bits: np.random.PCG64, *shape: int, gain: float = 1.0) -> NDArray[np.float64]:
    """A matrix or kernel ``[out, in, ...]`` that makes numbers ``gain`` times as large."""
    return draw(bits, *shape, std=float(gain / np.sqrt(np.prod(shape[1:]))))


def near(bits: np.random.PCG64, value: float, *shape: int) -> NDArray[np.float64]:
    """Numbers close to a value."""
    return value + draw(bits, *shape, std=0.1)


def seeded_weights(config: Mapping[str, Any], seed: int, loss: float) -> Tensors:
    """Random tensors, scaled so that what is seen and what was chosen before decide what is next.

    Channel 0 of what the decoder reads is constant and no layer writes to it: through it predicted
    losses have a mean, from which the other channels move them; it grows with ``loss``.
    """
    vision = config["gaze_model_config"]["vision_model_config"]
    c, bits = config["gaze_model_config"]["gaze_decoder_config"], np.random.PCG64(seed)
    hidden, width = vision["hidden_dim"], c["hidden_size"]
    grid, p = config["gaze_model_config"]["input_img_size"] // vision["kernel_size"], 3
    side = vision["kernel_size"]
    tensors = {
        "vision_model.temporal_conv.weight": mixing(bits, hidden, 3, 1, side, side),
        "vision_model.temporal_conv.bias": near(bits, 0, hidden),
        "vision_model.norm.weight": near(bits, 1, hidden),
        "vision_model.norm.bias": near(bits, 0, hidden),
        "vision_model.out_proj.weight": mixing(bits, width, hidden, 1, 1, 1, gain=1.5),
        "vision_model.out_proj.bias": near(bits, 0, width),
        "connector.pos_embed": draw(bits, grid**2, width, std=0.5),
        "gaze_decoder.model.embed_tokens.weight": draw(
            bits, config["num_vision_tokens_each_frame"] + 1, width, std=1.5
        ),
        "gaze_decoder.model.norm.weight": near(bits, 1, width),
    }
    for block in range(vision["depth"]):
        name = f"vision_model.blocks.{block}.conv3d"
        tensors[f"{name}.weight"] = mixing(bits, hidden, hidden, p, p, p, gain=1.4)
        tensors[f"{name}.bias"] = near(bits, 0, hidden)
    for layer in range(c["num_hidden_layers"]):
        tensors |= _layer_weights(bits, c, f"gaze_decoder.model.layers.{layer}.")
    k, ids = c["num_multi_token_pred"], config["num_vision_tokens_each_frame"] + 1
    tensors["gaze_decoder.lm_head.weight"] = mixing(bits, k * ids, width, gain=5.0)
    losses = mixing(bits, k, width, gain=0.3)
    losses[:, 0], tensors["gaze_decoder.task_loss_prediction_head.weight"] = loss, losses
    tensors["vision_model.out_proj.weight"][0] = 0
    tensors["vision_model.out_proj.bias"][0] = 1.5
    tensors["connector.pos_embed"][:, 0] = 0
    tensors["gaze_decoder.model.embed_tokens.weight"][:, 0] = 1.5
    return {f"gazing_model.{name}": t.astype(np.float32) for name, t in tensors.items()}


def _layer_weights(bits: np.random.PCG64, c: Mapping[str, Any], name: str) -> Tensors:
    """The tensors of one decoder layer; row 0 of what it adds is 0."""
    tensors: Tensors = {}
    d, width = c["head_dim"], c["hidden_size"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    for part, shape, gain in (
        ("self_attn.q_proj", (q, width), 1.5),
        ("self_attn.k_proj", (kv, width), 1.5),
        ("self_attn.v_proj", (kv, width), 1.5),
        ("self_attn.o_proj", (width, q), 1.5),
        ("mlp.gate_proj", (c["intermediate_size"], width), 1.0),
        ("mlp.up_proj", (c["intermediate_size"], width), 1.0),
        ("mlp.down_proj", (width, c["intermediate_size"]), 1.0),
    ):
        tensors[f"{name}{part}.weight"] = mixing(bits, *shape, gain=gain)
    tensors[f"{name}input_layernorm.weight"] = near(bits, 1, width)
    tensors[f"{name}post_attention_layernorm.weight"] = near(bits, 1, width)
    for part in ("self_attn.o_proj", "mlp.down_proj"):
        tensors[f"{name}{part}.weight"][0] = 0
    return tensors


def seeded_clip(seed: int, rows: int, frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Clips of coloured blocks that move, with a little noise: uint8 ``[rows, t, h, w, 3]``."""
    bits = np.random.PCG64(seed)
    block, grain = max(4, height // 8), 12
    clips = np.empty((rows, frames, height, width, 3), np.uint8)
    for clip in clips:
        shape = (height // block + frames + 1, width // block + frames + 1, 3)
        colours = ((uniform(bits, shape) + 1) * 110).repeat(block, axis=0).repeat(block, axis=1)
        noise = (uniform(bits, (height, width, 3)) + 1) * grain
        for t, frame in enumerate(clip):
            down, across = t * block // 3, t * block // 2
            moved = colours[down : down + height, across : across + width]
            frame[:] = (moved + noise).astype(np.uint8)
    return clips


def differences(path: Path, tensors: Tensors, notes: Mapping[str, str]) -> list[str]:
    """What a file of outputs has otherwise: names of tensors, and of hashes."""
    try:
        with safe_open(str(path), framework="np") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            recorded = file.metadata() or {}
    except OSError:
        return [f"{path.name} is missing"]
    wrong = [n for n in tensors.keys() | stored.keys() if not _same(tensors.get(n), stored.get(n))]
    hashes = [n for n in notes if n.startswith("sha256_") and recorded.get(n) != notes[n]]
    return sorted(wrong) + sorted(hashes)


def _same(new: NDArray[Any] | None, old: NDArray[Any] | None) -> bool:
    """Whether tensors are equal; confidences may differ by rounding between machines."""
    if new is None or old is None or new.shape != old.shape or new.dtype != old.dtype:
        return False
    return bool(
        np.allclose(new, old, atol=1e-6, rtol=0) if new.dtype.kind == "f" else (new == old).all()
    )


def main() -> int:
    """Make, or check, the cases given on the command line."""
    parser = argparse.ArgumentParser(description="Make parity fixtures from a manifest.")
    parser.add_argument("cases", nargs="*", help="names; default: all of the manifest")
    parser.add_argument("--manifest", type=Path, default=FOLDER / "manifest.toml")
    parser.add_argument("--check", action="store_true", help="compare with the stored outputs")
    parser.add_argument("-o", "--out", type=Path, help="write each case in full, in its own folder")
    given = parser.parse_args()
    cases, failed = read_cases(given.manifest), False
    if unknown := set(given.cases) - cases.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    for name in given.cases or cases:
        tensors, notes = cases[name].outputs()
        stored = given.manifest.parent / f"{name}.safetensors"
        if given.check:
            wrong = differences(stored, tensors, notes)
            print(f"{name}: {'; '.join(wrong) or 'equal'}")
            failed |= bool(wrong)
        elif given.out is None:
            save_file(tensors, stored, metadata=notes)
            print(f"{stored}: {notes}")
        else:
            folder = given.out / name
            cases[name].save_model(folder / "checkpoint")
            np.savez_compressed(folder / "frames.npz", frames=cases[name].frames)
            save_file(tensors, folder / "outputs.safetensors", metadata=notes)
            print(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
