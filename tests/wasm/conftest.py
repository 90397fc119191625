"""The page's C code, compiled for this processor and as WebAssembly, with models to run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.network import AutoGazeNetwork
from scripts.build_wasm import COMPILED, FLAGS, WASM
from tests.wasm.portable import Native, Portable, Wasm

KESTREL = Path("autogaze_cli/models/kestrel").absolute()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with this processor's plain 128-bit vectors, as a library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("portable") / "browser.so"
    sources = [str(source) for source in COMPILED]
    command = [
        compiler,
        *FLAGS,
        "-DNATIVE_NO_THREADS",
        "-fPIC",
        "-shared",
        "-w",
        "-o",
        str(path),
        *sources,
        "-lm",
    ]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="session")
def native(library: Path) -> Portable:
    """The bundled model in the library."""
    return Portable(Native(library), KESTREL)


@pytest.fixture(scope="session")
def wasm() -> Portable:
    """The bundled model in the WebAssembly of the package."""
    pytest.importorskip("wasmtime", reason="needs wasmtime: pip install '.[dev]'")
    return Portable(Wasm(WASM), KESTREL)


@pytest.fixture(scope="session")
def odd_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint whose sizes are no multiples of anything, with two blocks."""
    folder = tmp_path_factory.mktemp("odd")
    raw: dict[str, Any] = json.loads((KESTREL / "config.json").read_text())
    gaze = raw["gaze_model_config"]
    vision = {"hidden_dim": 43, "out_dim": 37, "depth": 2, "trunk_temporal_kernel_size": 2}
    gaze["vision_model_config"].update(vision)
    gaze["connector_config"]["hidden_dim"] = 37
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32}
    sizes = {"hidden_size": 37, "intermediate_size": 64, "num_hidden_layers": 2}
    gaze["gaze_decoder_config"].update({**heads, **sizes, "num_multi_token_pred": 7})
    (folder / "config.json").write_text(json.dumps(raw))
    shutil.copy(KESTREL / "preprocessor_config.json", folder)
    torch.manual_seed(11)
    network = AutoGazeNetwork(GazeConfig.from_mapping(raw))
    weights = {name: 0.3 * torch.randn(w.shape) for name, w in network.state_dict().items()}
    save_file({name: w.bfloat16() for name, w in weights.items()}, folder / "model.safetensors")
    return folder
