"""AutoGaze in plain float64 NumPy, written from the specification: what the engine must equal.

Nothing of the engine and nothing of the published package is used here, and nothing is fast: a clip
is one sequence, every layer is a few matrix products, and the decode loop has the steps of the
specification in its order. Sections named below are those of the inference specification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass
class Gaze:
    """The gaze at one clip, in order of choice.

    Attributes:
        ids: Ids within their frames, one list per frame; ``N`` for padding.
        confidences: Of each id, 0 for padding (4.2).
        margins: Of each choice, the best allowed logit less the second best.
        stop_margins: Of each predicted loss that was compared, its distance from the requirement.
    """

    ids: list[list[int]] = field(default_factory=list)
    confidences: list[list[float]] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    stop_margins: list[float] = field(default_factory=list)


def resized(frame: Pixels, height: int, width: int) -> Pixels:
    """A frame resized on 8 bits, antialiased, columns first (2.1 step 2)."""
    for axis, length in ((1, width), (0, height)):
        if frame.shape[axis] == length:
            continue
        taps = _fixed_point_taps(frame.shape[axis], length)
        total = np.tensordot(taps, np.moveaxis(frame, axis, 0).astype(np.int64), axes=1)
        levels = np.clip((total + (1 << 21)) >> 22, 0, 255).astype(np.uint8)
        frame = np.moveaxis(levels, 0, axis)
    return frame


def _fixed_point_taps(source: int, target: int) -> Ids:
    """What each source pixel gives to each target pixel, in units of 2 ** -22."""
    taps = np.zeros((target, source), np.int64)
    scale = source / target
    reach = max(scale, 1.0)
    for o in range(target):
        centre = (o + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), source)
        weights = [max(0.0, 1 - abs(i - centre + 0.5) / reach) for i in range(low, high)]
        for i, weight in zip(range(low, high), weights, strict=True):
            taps[o, i] = int(0.5 + weight / sum(weights) * (1 << 22))
    return taps


def preprocessed(frames: Pixels, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Frames ``[t, h, w, 3]`` as the processor gives them, ``float32 [t, 3, h', w']`` (2.1)."""
    height, width = frames.shape[1:3]
    short = settings["size"]["shortest_edge"]
    long = int(short * max(height, width) / min(height, width))
    size = (short, long) if height <= width else (long, short)
    pixels = np.stack([resized(frame, *size) for frame in frames])
    values = (pixels.astype(np.float64) * settings["rescale_factor"]).astype(np.float32)
    values -= np.float32(1)
    mean = np.array(settings["image_mean"], np.float32)
    std = np.array(settings["image_std"], np.float32)
    normalised: NDArray[np.float32] = (values - mean) / std
    return normalised.transpose(0, 3, 1, 2)


def square(video: NDArray[Any], side: int) -> Array:
    """The bicubic resize in the model: a = -0.75, half-pixel centres, not antialiased (2.2)."""
    out = video.astype(np.float64)
    for axis in (2, 3):
        source = out.shape[axis]
        if source == side:
            continue
        taps = np.zeros((side, source))
        for o in range(side):
            at = (o + 0.5) * source / side - 0.5
            first = math.floor(at) - 1
            for i in range(first, first + 4):
                taps[o, min(max(i, 0), source - 1)] += _cubic(at - i)
        out = np.moveaxis(np.tensordot(taps, np.moveaxis(out, axis, 0), axes=1), 0, axis)
    return out


def _cubic(distance: float, a: float = -0.75) -> float:
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


class Reference:
    """A model: its configuration as ``config.json`` has it, and its tensors by name."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
        gaze = config["gaze_model_config"]
        self.vision, self.decoder = gaze["vision_model_config"], gaze["gaze_decoder_config"]
        self.side, self.eos = gaze["input_img_size"], config["num_vision_tokens_each_frame"]
        self.chunk = self.decoder["num_multi_token_pred"]
        self.weights = {
            name.removeprefix("gazing_model."): tensor.astype(np.float64)
            for name, tensor in weights.items()
        }
        self.frequencies = _rotary_frequencies(self.decoder)

    def embed(self, video: NDArray[Any]) -> Array:
        """Vision tokens ``[t, tokens, c]`` of processed frames ``[t, 3, h, w]`` (3.2, 3.3)."""
        w, p = self.weights, self.vision["kernel_size"]
        frames = square(video, self.side)
        t, n = len(frames), self.side // p
        patches = frames[:, :, : n * p, : n * p].reshape(t, 3, n, p, n, p)
        patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(t, n, n, -1)
        kernel = w["vision_model.temporal_conv.weight"].reshape(self.vision["hidden_dim"], -1)
        x = patches @ kernel.T + w["vision_model.temporal_conv.bias"]
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        x = x * w["vision_model.norm.weight"] + w["vision_model.norm.bias"]
        for block in range(self.vision["depth"]):
            name = f"vision_model.blocks.{block}.conv3d"
            x = np.maximum(_causal_conv(x, w[f"{name}.weight"]) + w[f"{name}.bias"], 0)
        out = w["vision_model.out_proj.weight"][:, :, 0, 0, 0]
        x = x @ out.T + w["vision_model.out_proj.bias"]
        return x.reshape(t, n * n, -1) + w["connector.pos_embed"]

    def gaze(self, video: NDArray[Any], budgets: Sequence[int], requirement: float | None) -> Gaze:
        """Gaze at one clip.

        Args:
            video: Processed frames, ``[t, 3, h, w]``.
            budgets: Tokens of each frame, ``[t]``.
            requirement: A token is suppressed when its predicted loss is at most this.
        """
        gaze, cache = Gaze(), _Cache(self.decoder["num_hidden_layers"])
        pending: list[int] = []
        table = self.weights["gaze_decoder.model.embed_tokens.weight"]
        for tokens, budget in zip(self.embed(video), budgets, strict=True):
            cache.visible += [True] * len(tokens)  # steps 1 to 4 of 3.6
            positions = np.cumsum(cache.visible) - 1
            x = np.concatenate([table[pending].reshape(-1, table.shape[1]), tokens])
            hidden = self._run(x, positions[len(positions) - len(x) :], cache)
            tail = positions[-self.chunk :]
            ids: list[int] = []
            confidences: list[float] = []
            while True:
                pending, sure, ended = self._choose(hidden, ids, budget, requirement, gaze)
                ids += pending
                confidences += sure
                if ended:
                    break
                cache.visible += [True] * len(pending)  # step 13
                hidden = self._run(table[pending], tail, cache)
            # Step 14: the last chunk is fed with the next frame; its padding is hidden then.
            cache.visible += [token != self.eos for token in pending]
            gaze.ids.append(ids)
            gaze.confidences.append(confidences)
        return gaze

    def _choose(
        self,
        hidden: Array,
        before: Sequence[int],
        budget: int,
        requirement: float | None,
        gaze: Gaze,
    ) -> tuple[list[int], list[float], bool]:
        """A chunk, its confidences, and whether the frame ends with it (3.6 steps 6 to 13)."""
        w, k = self.weights, self.chunk
        y = _rms(hidden, w["gaze_decoder.model.norm.weight"], self.decoder["rms_norm_eps"])
        logits = (w["gaze_decoder.lm_head.weight"] @ y).reshape(k, -1)
        losses = w["gaze_decoder.task_loss_prediction_head.weight"] @ y
        logits[:, [*before, self.eos]] = -np.inf
        chunk: list[int] = []
        sure: list[float] = []
        met = early = False
        for i in range(k):
            if len(before) + i >= budget or np.isneginf(logits[i]).all():
                early = True
                break
            best, *rest = np.sort(logits[i][np.isfinite(logits[i])])[::-1]
            if rest:
                gaze.margins.append(float(best - rest[0]))
            token = int(logits[i].argmax())
            confidence = 1 / np.exp(logits[i] - best).sum()
            logits[i + 1 :, token] = -np.inf
            if requirement is not None and (before or i > 0):
                gaze.stop_margins.append(float(abs(losses[i] - requirement)))
                if losses[i] <= requirement:
                    met, token, confidence = True, self.eos, 0.0
            chunk.append(token)
            sure.append(float(confidence))
        return chunk, sure, early or met or len(before) + len(chunk) >= budget

    def _run(self, x: Array, positions: Ids, cache: _Cache) -> Array:
        """The last hidden state of new slots, before the final normalisation (3.4)."""
        c, w = self.decoder, self.weights
        heads, shared = c["num_attention_heads"], c["num_key_value_heads"]
        for layer in range(c["num_hidden_layers"]):
            name = f"gaze_decoder.model.layers.{layer}."
            y = _rms(x, w[name + "input_layernorm.weight"], c["rms_norm_eps"])
            q, keys, values = (
                (y @ w[f"{name}self_attn.{part}_proj.weight"].T).reshape(len(x), n, -1)
                for part, n in (("q", heads), ("k", shared), ("v", shared))
            )
            q, keys = self._rotated(q, positions), self._rotated(keys, positions)
            keys, values = cache.extended(layer, keys, values)
            mixed = _attention(q, keys, values, np.array(cache.visible[: len(keys)]))
            x = x + mixed.reshape(len(x), -1) @ w[name + "self_attn.o_proj.weight"].T
            y = _rms(x, w[name + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            gate = y @ w[name + "mlp.gate_proj.weight"].T
            inner = gate / (1 + np.exp(-gate)) * (y @ w[name + "mlp.up_proj.weight"].T)
            x = x + inner @ w[name + "mlp.down_proj.weight"].T
        last: Array = x[-1]
        return last

    def _rotated(self, x: Array, positions: Ids) -> Array:
        angle = positions[:, None, None] * self.frequencies
        a, b = np.split(x, 2, axis=-1)
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class _Cache:
    """Rotated keys and values of each layer, and which slots can be seen, the pending ones too."""

    def __init__(self, layers: int) -> None:
        self.layers: list[tuple[Array, Array] | None] = [None] * layers
        self.visible: list[bool] = []

    def extended(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        past = self.layers[layer]
        if past is not None:
            keys, values = np.concatenate([past[0], keys]), np.concatenate([past[1], values])
        self.layers[layer] = keys, values
        return keys, values


def _attention(q: Array, keys: Array, values: Array, visible: NDArray[np.bool_]) -> Array:
    """Attention of new slots ``[n, heads, d]`` to all slots up to themselves (3.4)."""
    n, heads, d = q.shape
    repeat = heads // keys.shape[1]
    keys, values = keys.repeat(repeat, axis=1), values.repeat(repeat, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, keys) / math.sqrt(d)
    first = len(keys) - n
    seen = np.arange(len(keys))[None] <= first + np.arange(n)[:, None]
    scores = np.where(seen & visible[None], scores, -np.inf)
    # A padded slot may see nothing but itself, which is hidden: its output is never used.
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Array = np.einsum("hqk,khd->qhd", weights, values)
    return mixed


def _causal_conv(x: Array, kernel: Array) -> Array:
    """A convolution of ``[t, h, w, c]``: zeros before the first frame, and around each (3.2)."""
    t, height, width, _ = x.shape
    _, _, kt, kh, kw = kernel.shape
    padded = np.pad(x, ((kt - 1, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    out = np.zeros((t, height, width, len(kernel)))
    for dt, dy, dx in np.ndindex(kt, kh, kw):
        part = padded[dt : dt + t, dy : dy + height, dx : dx + width]
        out += part @ kernel[:, :, dt, dy, dx].T
    return out


def _rms(x: Array, weight: Array, eps: float) -> Array:
    scaled: Array = weight * (x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps))
    return scaled


def _rotary_frequencies(decoder: Mapping[str, Any]) -> Array:
    """Of each pair of a head, slowed down for long waves (3.4)."""
    d, scaling = decoder["head_dim"], decoder["rope_scaling"]
    found = []
    for j in range(d // 2):
        f = decoder["rope_theta"] ** (-2 * j / d)
        if scaling is not None:
            wave, length = 2 * math.pi / f, scaling["original_max_position_embeddings"]
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            smooth = min(max((length / wave - low) / (high - low), 0.0), 1.0)
            f = f * ((1 - smooth) / scaling["factor"] + smooth)
        found.append(f)
    return np.array(found)
