"""The committed WebAssembly is what its sources give."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from scripts.build_wasm import SUMS, WASM, sums


def test_it_is_of_these_sources() -> None:
    assert SUMS.read_text() == sums(), "run scripts/build_wasm.py"


def test_it_asks_the_page_for_nothing() -> None:
    wasmtime = pytest.importorskip("wasmtime")
    module = wasmtime.Module(wasmtime.Store().engine, WASM.read_bytes())
    assert list(module.imports) == []
    assert len(WASM.read_bytes()) < 100_000


@pytest.mark.long
@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang: pip install '.[dev]'")
def test_building_it_again_gives_the_same_bytes() -> None:
    command = [sys.executable, "scripts/build_wasm.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
