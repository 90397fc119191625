"""Executions of the model's C code for ``sanitized.py``: layers, and the page's whole model."""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.decode import Decoder
from autogaze_cli.model.layers import normalise
from autogaze_cli.model.native import NativeLayers, panels
from autogaze_cli.model.network import AutoGazeNetwork, GazeDecoder
from autogaze_cli.model.packed import PackedLayers
from scripts.build_wasm import MODEL
from scripts.sanitized import ODD, Random, image, library, pick, refuse
from tests.wasm.portable import Native, Portable

LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)
KESTREL = MODEL.parent / "models/kestrel"


def numbers(rng: Random, *shape: int, odd: bool = False) -> Tensor:
    """Usual numbers, or some odd ones among them."""
    x = rng.standard_normal(shape, np.float32)
    if odd and x.size:
        x.ravel()[rng.integers(0, x.size, 3)] = rng.choice(ODD, 3)
    return torch.from_numpy(x)


def layers(name: str, rng: Random) -> None:
    """An execution of ``native.c`` in one instruction set."""
    os.environ["AUTOGAZE_NATIVE"] = name
    code = library(f"native_{name}")
    assert code is not None
    kind = rng.integers(4)
    if kind == 0:
        product(code, rng)
    elif kind == 1:
        norms(code, rng)
    else:
        decoder(rng, wrong=kind == 3)


def pointer(x: Tensor | None) -> ctypes.c_void_p | None:
    """Where a tensor lies."""
    return None if x is None else ctypes.c_void_p(x.data_ptr())


def product(code: ctypes.CDLL, rng: Random) -> None:
    """A matrix product with any number of threads, added to itself or to another or to nothing."""
    n, k, cols = (int(size) for size in rng.integers((0, 1, 1), (pick(rng, 40, 600), 70, 90)))
    odd = rng.random() < 0.2
    x, w = numbers(rng, n, k, odd=odd), numbers(rng, cols, k)
    bias = pick(rng, None, numbers(rng, cols))
    add = pick(rng, None, numbers(rng, n, cols))
    packed, found = panels(w, code.panel()), []
    for threads in (1, int(rng.integers(2, 6))):
        y = torch.empty(n, cols) if add is None or rng.random() < 0.5 else add.clone()
        given = y if add is not None and torch.equal(y, add) else add
        code.linear(
            pointer(x), n, k, pointer(packed), pointer(bias), cols, pointer(given), pointer(y),
            threads,
        )  # fmt: skip
        found.append(y)
    np.testing.assert_array_equal(found[0], found[1])
    if not odd:
        wanted = x.double() @ w.double().t()
        wanted += 0 if bias is None else bias
        wanted += 0 if add is None else add
        torch.testing.assert_close(found[0].double(), wanted, atol=1e-4, rtol=1e-4)


def norms(code: ctypes.CDLL, rng: Random) -> None:
    """RMS normalisation."""
    n, c = (int(size) for size in rng.integers((0, 1), (20, 90)))
    odd = rng.random() < 0.2
    x, y = numbers(rng, n, c, odd=odd), torch.empty(n, c)
    code.rms_norm(pointer(x), n, c, ctypes.c_float(1e-5), pointer(y))
    if not odd:
        torch.testing.assert_close(y, normalise(x, 1e-5), atol=1e-5, rtol=1e-4)


def decoder(rng: Random, *, wrong: bool) -> None:
    """All layers over sequences that grow and forget, against PyTorch's own operations."""
    heads = int(rng.integers(1, 4))
    config = GazeConfig(
        layout=LAYOUT,
        hidden_size=int(rng.integers(1, 70)),
        intermediate_size=16 * int(rng.integers(1, 4)),
        num_hidden_layers=int(rng.integers(1, 4)),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        attention_bias=bool(rng.integers(2)),
        mlp_bias=bool(rng.integers(2)),
    )
    torch.manual_seed(int(rng.integers(1 << 30)))
    module = GazeDecoder(config).requires_grad_(False)
    compiled, reference = Decoder(module, config), Decoder(module, config)
    assert isinstance(compiled.layers, NativeLayers)
    reference.layers = PackedLayers(reference.weights)
    batch = int(rng.integers(1, 4))
    caches = [one.new_caches(batch, 0) for one in (compiled, reference)]
    for call in range(int(rng.integers(1, 6))):
        odd = rng.random() < 0.1 and not wrong
        lengths = rng.integers(1, pick(rng, 12, 300), batch).tolist()
        x = numbers(rng, sum(lengths), config.hidden_size, odd=odd)
        positions = rng.integers(0, 2**20 if odd else 900, len(x))
        for i, length in enumerate(lengths):
            forgotten = int(rng.integers(0, 1 + caches[0][i].end - caches[0][i].start))
            for rows in caches:
                rows[i].start += forgotten if call % 2 else 0
                rows[i].reserve(length)
        if wrong and rng.random() < 0.4:
            misuse(compiled, caches[0], x, positions, lengths, rng)
        before = deepcopy(caches[0])
        torch.set_num_threads(1)
        found = compiled.run(x, positions, caches[0], lengths)
        torch.set_num_threads(int(rng.integers(2, 5)))
        np.testing.assert_array_equal(found, compiled.run(x, positions, before, lengths))
        if odd:  # which stays in the caches
            return
        torch.set_num_threads(1)
        wanted = reference.run(x, positions, caches[1], lengths)
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
        for ours, theirs in zip(compiled.heads(found), reference.heads(wanted), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-3)


def misuse(
    decoder: Decoder, caches: list[Any], x: Tensor, positions: Any, lengths: list[int], rng: Random
) -> None:
    """A call that must be refused."""
    compiled = decoder.layers
    for one, length in zip(caches, lengths, strict=True):
        one.extend(length)
    given = {"x": x, "positions": positions, "caches": caches, "lengths": lengths}
    kind, one = rng.integers(12), caches[rng.integers(len(caches))]
    if kind == 0:
        given["x"] = pick(rng, x[1:], x[:, 1:], x.double(), torch.cat([x, x], dim=1))
    elif kind == 1:
        given["positions"] = positions[1:]
    elif kind == 2:
        given["lengths"] = [0, *lengths[1:]]
    elif kind == 3:
        given["lengths"] = pick(rng, lengths[1:], [*lengths, 1], [2 * n for n in lengths])
    elif kind == 4:
        one.end = pick(rng, one.values[0].shape[1] + 1, 2**31, -1, 0)
    elif kind == 5:
        one.start = pick(rng, one.end + 1, -1, 2**40)
    elif kind == 6:
        where = pick(rng, one.keys, one.values)
        where[-1] = pick(rng, where[-1][1:], where[-1][:, 1:], where[-1].half())
    elif kind == 7:
        one.values[0] = one.values[0].transpose(1, 2).contiguous().transpose(1, 2)
        one.keys[0] = torch.cat([one.keys[0]] * 2, dim=-1)[..., ::2]
    elif kind == 8:
        pick(rng, one.keys, one.values).pop()
    elif kind == 9:
        one.keys.append(one.keys[0])
        one.values.append(one.values[0])
    elif kind == 10:
        given["caches"] = caches[1:]
    else:
        hidden = numbers(rng, 2, decoder.config.hidden_size + 1)
        refuse(compiled.head_scores, pick(rng, hidden, hidden[:, 1:], hidden[:, :-1].double()))
    refuse(compiled.run, **given)


@cache
def models(which: int) -> tuple[Portable, Portable]:
    """A small model of odd sizes, under the sanitizers and not; the last one has odd weights."""
    rng = np.random.default_rng(which)
    raw: dict[str, Any] = json.loads((KESTREL / "config.json").read_text())
    gaze = raw["gaze_model_config"]
    hidden, heads = int(rng.integers(1, 40)), int(rng.integers(1, 3))
    gaze["vision_model_config"].update(
        hidden_dim=int(rng.integers(1, 40)), out_dim=hidden, depth=int(rng.integers(1, 3)),
        trunk_temporal_kernel_size=int(rng.integers(1, 4)),
        trunk_spatial_kernel_size=pick(rng, 1, 3, 5),
    )  # fmt: skip
    gaze["connector_config"]["hidden_dim"] = hidden
    gaze["gaze_decoder_config"].update(
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=32, hidden_size=hidden,
        intermediate_size=16 * int(rng.integers(1, 4)), num_hidden_layers=int(rng.integers(1, 3)),
        num_multi_token_pred=int(rng.integers(1, 12)),
    )  # fmt: skip
    torch.manual_seed(which)
    network = AutoGazeNetwork(GazeConfig.from_mapping(raw))
    weights = {name: 0.3 * torch.randn(w.shape) for name, w in network.state_dict().items()}
    if which == 3:
        for weight in weights.values():
            weight.view(-1)[0] = float(pick(rng, *ODD))
    kind = (torch.float32, torch.float16, torch.bfloat16, torch.float32)[which]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "config.json").write_text(json.dumps(raw))
        shutil.copy(KESTREL / "preprocessor_config.json", folder)
        save_file({n: w.to(kind) for n, w in weights.items()}, folder / "model.safetensors")
        found = os.environ["SANITIZED"]
        return (
            Portable(Native(Path(found, "browser.so")), folder),
            Portable(Native(Path(found, "browser_reference.so")), folder),
        )


def page(rng: Random) -> None:
    """An execution of ``browser.c``: pictures of any size, a few frames of a stream."""
    both = models(int(rng.integers(4)))
    streams = [one.stream() for one in both]
    height, width = (int(size) for size in rng.integers(1, pick(rng, 20, 300), 2))
    if max(height, width) > 40 * min(height, width):
        height = width
    tiled, tile = rng.random() < 0.5, int(pick(rng, 224, rng.integers(1, 300)))
    canvas = pick(rng, (0, 0), (int(rng.integers(1, 700)), int(rng.integers(1, 700))))
    left, top = (int(at) for at in rng.integers(0, 400, 2))
    most, horizon = int(pick(rng, 1, 10, 270)), int(rng.integers(0, 4))
    requirement = float(pick(rng, math.nan, 0.1, rng.standard_normal(), math.inf, -math.inf))
    for _ in range(int(rng.integers(1, 4))):
        frame = image(rng, height, width, 3)
        results = []
        for one, stream in zip(both, streams, strict=True):
            made = one.tile(frame, canvas, left, top, tile) if tiled else one.input(frame)
            results.append((made, *one.gaze(stream, most, horizon, requirement)))
        for ours, wanted in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, wanted)
    for one, stream in zip(both, streams, strict=True):
        one.machine.call("free_stream", one._model, stream)
