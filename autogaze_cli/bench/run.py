"""One run of the benchmark, from its settings to its document."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from autogaze_cli.bench.matrix import matrix_figures
from autogaze_cli.bench.model import growth_of, model_figures, tiled_figures
from autogaze_cli.bench.peaks import peak_rates
from autogaze_cli.bench.report import document
from autogaze_cli.bench.settings import BenchSettings
from autogaze_cli.bench.synthetic import seeded_model
from autogaze_cli.bench.video import video_figures
from autogaze_cli.model.autogaze import AutoGaze, load_model


def run_bench(settings: BenchSettings) -> dict[str, Any]:
    """Measure, and return the document that ``docs/schemas/bench.schema.json`` describes.

    Raises:
        AutogazeError: The model, the clip or the device does not exist.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    devices = settings.devices()
    if settings.matrix:
        return document(asdict(settings), {}, list(matrix_figures(settings)))
    with tempfile.TemporaryDirectory(prefix="autogaze-") as folder:
        figures = list(video_figures(settings, Path(folder)))
    ceilings: dict[str, dict[str, float]] = {}
    growth: list[dict[str, Any]] = []
    for device in devices:
        ceilings[device.type] = peak_rates(device, settings)
        for dtype in settings.dtype:
            model = _model(settings, device, dtype)
            ceiling = ceilings[device.type][f"matmul_{dtype}_gflops"]
            figures += model_figures(settings, model, ceiling)
            if device.type == "cuda":
                figures += tiled_figures(settings, model, ceiling)
            if settings.growth:
                growth += growth_of(settings, model)
    return document(asdict(settings), ceilings, figures, growth)


def _model(settings: BenchSettings, device: torch.device, dtype: str) -> AutoGaze:
    if settings.model is None:
        return seeded_model(device, dtype)
    return load_model(settings.model, device, dtype)  # type: ignore[arg-type]  # it is checked
