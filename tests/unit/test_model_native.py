"""The compiled decoder layers against the same layers in PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.cache import KVCache
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.decode import Decoder
from autogaze_cli.model.native import SETS, NativeLayers, instruction_set, load
from autogaze_cli.model.network import GazeDecoder
from autogaze_cli.model.packed import PackedLayers

HAD = [name for name in SETS if load(name)]

pytestmark = pytest.mark.skipif(not HAD, reason="the compiled layers are not built")


@pytest.fixture(params=HAD, autouse=True)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with each instruction set that this machine has."""
    name: str = request.param
    monkeypatch.setenv("AUTOGAZE_NATIVE", name)
    return name


CONFIG = GazeConfig(
    layout=ScaleLayout.from_config("32+64+112+224", 265, 16),
    hidden_size=40,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=3,
    num_key_value_heads=3,
    head_dim=32,
)


def decoders(config: GazeConfig = CONFIG) -> tuple[Decoder, Decoder]:
    """One that runs the compiled layers, and one that does not."""
    torch.manual_seed(3)
    module = GazeDecoder(config).requires_grad_(False)
    for name, parameter in module.named_parameters():
        if "norm" in name:
            parameter.uniform_(0.5, 1.5)
    native, packed = Decoder(module, config), Decoder(module, config)
    packed.layers = PackedLayers(packed.weights)
    assert isinstance(native.layers, NativeLayers)
    assert native.layers.code is load(instruction_set() or "")
    return native, packed


def fed(decoder: Decoder, row: KVCache, slots: int, seed: int) -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((slots, 40), np.float32))
    row.reserve(slots)
    first = row.dropped + row.end
    return decoder.run(x, np.arange(first, first + slots), [row], [slots])


@pytest.mark.parametrize("bias", [False, True])
def test_scores_and_caches_equal(bias: bool) -> None:
    native, packed = decoders(replace(CONFIG, attention_bias=bias, mlp_bias=bias))
    (a,), (b,) = native.new_caches(1, 0), packed.new_caches(1, 0)
    for seed, slots in enumerate((206, 10, 10, 1, 199, 13, 300)):
        hidden = [fed(native, a, slots, seed), fed(packed, b, slots, seed)]
        torch.testing.assert_close(hidden[0], hidden[1], atol=2e-5, rtol=1e-4)
        for ours, theirs in zip(native.heads(hidden[0]), packed.heads(hidden[1]), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-4)
    keys = a.keys[2].transpose(2, 3).flatten(1, 2)[:, : a.end]
    torch.testing.assert_close(keys, b.keys[2][:, : b.end], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(
        a.values[2][:, : a.end], b.values[2][:, : b.end], atol=2e-5, rtol=1e-4
    )


def test_a_rolling_window_starts_anywhere() -> None:
    native, packed = decoders()
    (a,), (b,) = native.new_caches(1, 0), packed.new_caches(1, 0)
    for seed, (slots, forgotten) in enumerate(
        [(206, 0), (30, 7), (206, 100), (10, 37), (400, 290)]
    ):
        a.start += forgotten
        b.start += forgotten
        torch.testing.assert_close(
            fed(native, a, slots, seed), fed(packed, b, slots, seed), atol=2e-5, rtol=1e-4
        )
        assert a.dropped + a.start == b.dropped + b.start


def test_rows_and_threads_change_no_bit() -> None:
    native, _ = decoders()
    lengths = (206, 10, 1, 33)
    x = torch.randn(sum(lengths), 40)
    positions = np.concatenate([np.arange(n) for n in lengths])
    before = torch.get_num_threads()
    outputs = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            rows = native.new_caches(4, 224)
            outputs.append(native.run(x, positions, rows, list(lengths)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    at = 0
    for i, n in enumerate(lengths):
        (row,) = native.new_caches(1, 224)
        alone = native.run(x[at : at + n], np.arange(n), [row], [n])
        assert torch.equal(alone[0], outputs[0][i])
        at += n


def test_callers_at_the_same_time_change_no_bit() -> None:
    native, _ = decoders()
    x = torch.randn(206, 40)

    def run(_: int) -> torch.Tensor:
        torch.set_num_threads(3)
        rows = native.new_caches(2, 224)
        return native.run(x, np.arange(206), rows, [200, 6])

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(4) as pool:
            outputs = list(pool.map(run, range(40)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(out, outputs[0]) for out in outputs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork on Windows")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_goes_on_without_the_threads() -> None:
    native, _ = decoders()
    x = torch.randn(100, 40)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        (row,) = native.new_caches(1, 128)
        here = native.run(x, np.arange(100), [row], [100])
        (row,) = native.new_caches(1, 128)
        child = os.fork()
        if not child:
            there = native.run(x, np.arange(100), [row], [100])
            os._exit(0 if torch.equal(here, there) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def test_large_scores_stay_finite() -> None:
    native, packed = decoders()
    (a,), (b,) = native.new_caches(1, 64), packed.new_caches(1, 64)
    x = 1e4 * torch.randn(40, 40)
    out = [d.run(x, np.arange(40), [row], [40]) for d, row in ((native, a), (packed, b))]
    assert torch.isfinite(out[0]).all()
    torch.testing.assert_close(out[0], out[1], atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("forced", HAD[:1], indirect=True)
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is Linux's")
def test_memory_that_cannot_be_had_is_an_error() -> None:
    program = """if True:
        import resource, sys
        import numpy as np, torch
        from pathlib import Path
        from autogaze_cli.model.config import GazeConfig
        from autogaze_cli.model.decode import Decoder
        from autogaze_cli.model.network import GazeDecoder
        from autogaze_cli.gaze.tokens import ScaleLayout
        from autogaze_cli.errors import as_autogaze_error

        torch.set_num_threads(1)
        layout = ScaleLayout.from_config("32+64+112+224", 265, 16)
        config = GazeConfig(layout=layout, num_hidden_layers=1)
        decoder = Decoder(GazeDecoder(config).requires_grad_(False), config)
        (cache,) = decoder.new_caches(1, 0)
        n = 100_000
        cache.reserve(n)
        x, positions = torch.zeros(n, 192), np.arange(n)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        now = pages * resource.getpagesize()
        # Room for the copies that the call makes (100 MB), not for its working memory (0.9 GB).
        resource.setrlimit(resource.RLIMIT_AS, (now + 400_000_000,) * 2)
        try:
            decoder.run(x, positions, [cache], [n])
        except MemoryError as error:
            print(as_autogaze_error(error, "a.mp4").line())
    """
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    message = (
        "a.mp4: out of memory: cannot allocate the decoder's working memory for 100000 tokens; "
        "lower --tile-batch-size, --clip-len or --workers\n"
    )
    assert (found.returncode, found.stdout) == (0, message), found.stderr


def test_the_fastest_set_is_chosen_unless_one_is_forced(
    forced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instruction_set() == forced
    monkeypatch.setenv("AUTOGAZE_NATIVE", "")
    assert instruction_set() == HAD[0]
    monkeypatch.setenv("AUTOGAZE_NATIVE", "0")
    assert instruction_set() is None


@pytest.mark.parametrize("name", ["sse9", "1", *(name for name in SETS if name not in HAD)])
def test_a_set_that_is_not_had_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGAZE_NATIVE", name)
    with pytest.raises(ConfigError, match=f"AUTOGAZE_NATIVE: '{name}' is not") as raised:
        decoders()
    assert raised.value.hint == f"set it to {', '.join(HAD)}, 0, or leave it out"
