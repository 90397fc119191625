"""Token for token against the published sparse SigLIP, on seeded checkpoints.

The small cases are in ``fixtures/encoders``. The others are used when ``AUTOGAZE_PARITY`` names
their folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from autogaze_cli.encoders import Attend, load_encoder

SMALL = Path(__file__).parents[2] / "fixtures" / "encoders"
LARGE = Path(os.environ.get("AUTOGAZE_PARITY") or "no-parity-data") / "encoder"


class Case(NamedTuple):
    checkpoint: str
    kind: str
    attend: Attend
    scales: str
    batch: int
    frames: int
    std: float

    @property
    def files(self) -> tuple[Path, Path]:
        """The checkpoint and the recorded outputs."""
        name = f"{self.checkpoint}-{self.kind}"
        small = SMALL / "cases" / f"{name}.safetensors"
        if small.is_file():
            return SMALL / self.checkpoint, small
        large = LARGE / "cases" / name / "case.safetensors"
        if not large.is_file():
            pytest.skip(f"the larger parity data is not there (looked in {LARGE})")
        return LARGE / "checkpoints" / self.checkpoint, large


P16, P14 = ("siglip-tiny-p16", "32+64+112+224"), ("siglip-tiny-p14", "56+112+196+392")
CASES = [
    Case(P16[0], "block-causal", "block-causal", P16[1], 2, 4, 1.04139),
    Case(P16[0], "frame", "frame", P16[1], 2, 4, 1.03207),
    Case(P16[0], "sparse", "block-causal", P16[1], 3, 6, 1.04410),
    Case(P16[0], "all", "block-causal", P16[1], 1, 2, 1.03894),
    Case(P14[0], "block-causal", "block-causal", P14[1], 2, 4, 0.97572),
    Case(P14[0], "frame", "frame", P14[1], 2, 4, 0.96502),
    Case(P14[0], "sparse", "block-causal", P14[1], 3, 6, 0.98908),
    Case(P14[0], "all", "block-causal", P14[1], 1, 2, 0.96847),
]


def pictures(batch: int, frames: int, side: int) -> Tensor:
    """The pictures that the recordings were made of, ``[b, t, 3, side, side]``."""
    b, t, c, i, j = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (batch, frames, 3, side, side)),
        indexing="ij",
    )
    wave = 0.9 * torch.sin(0.013 * (i + 1) * (c + 1) + 0.021 * (j + 1) + 0.7 * t + 1.3 * b)
    return (wave + 0.5 * torch.cos(0.05 * (i - j) + t)).float()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.checkpoint}-{case.kind}")
def test_gazed_patches_become_the_published_features(case: Case) -> None:
    checkpoint, recorded = case.files
    encoder = load_encoder(checkpoint, scales=case.scales, attend=case.attend)
    wanted = load_file(recorded)
    valid = ~wanted["if_padded_gazing"].bool()
    patches = encoder.cut(pictures(case.batch, case.frames, encoder.size), wanted)
    tokens = encoder.embed(patches)
    assert len(tokens) == valid.sum()
    assert (tokens - wanted["embeddings"][valid]).abs().max() < 1e-5
    output = encoder.encode(patches)
    hidden = wanted["last_hidden_state"][valid]
    assert float(hidden.std()) == pytest.approx(case.std, rel=0.1)
    assert (output.last_hidden_state - hidden).abs().max() < 2e-5 * case.std
    if "pooler_output" in wanted:
        assert (output.clip_features - wanted["pooler_output"]).abs().max() < 2e-5


def test_the_default_scales_are_those_of_the_recordings() -> None:
    assert load_encoder(SMALL / P16[0]).layout.scales == (32, 64, 112, 224)
