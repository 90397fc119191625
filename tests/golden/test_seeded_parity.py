"""The engine against plain float64 arithmetic, written from the specification and sharing no code.

The cases are those of ``fixtures/seeded/manifest.toml``: models and clips follow from seeds, so a
fresh clone has all that it takes, the published architecture's sizes included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.packed import PackedLayers
from autogaze_cli.model.preprocess import square as resize_in_model
from scripts.make_parity import FOLDER, Case, differences, read_cases
from scripts.parity_reference import Reference, preprocessed, square

ROOT = Path(__file__).parents[2]
NARROW = ["narrow-budgets", "narrow-stop"]
NAMES = [*NARROW, "published-stop"]


@cache
def cases() -> dict[str, Case]:
    return read_cases()


def case(name: str) -> Case:
    return cases()[name]


@cache
def model(name: str) -> AutoGaze:
    made = case(name)
    weights = {key: torch.from_numpy(tensor) for key, tensor in made.weights.items()}
    return load_model(made.config, weights=weights, preprocessor=made.preprocessor)


def test_the_manifest_has_these_cases_and_nothing_else_is_stored() -> None:
    assert list(cases()) == NAMES
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(NAMES)
    published = model("published-stop")
    assert sum(p.numel() for p in published.network.parameters()) == 3_258_240


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_frames_are_those_of_the_stored_outputs(name: str) -> None:
    with safe_open(str(FOLDER / f"{name}.safetensors"), framework="np") as file:
        recorded = file.metadata()
    assert {key: recorded[f"sha256_{key}"] for key in ("weights", "frames")} == case(name).sha256()
    assert min(float(recorded[f"smallest_{key}"]) for key in ("margin", "stop_margin")) >= 1e-3


@pytest.mark.parametrize("layers", ["fastest", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_the_engine_chooses_what_the_reference_chose(
    name: str, layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, wanted, engine = case(name), load_file(FOLDER / f"{name}.safetensors"), model(name)
    if layers == "plain":
        monkeypatch.setattr(engine._decoder, "layers", PackedLayers(engine._decoder.weights))
    for row, frames in enumerate(made.frames):
        output = engine.generate(
            engine.preprocess(frames),
            max_gaze_tokens_each_frame=made.budgets,
            task_loss_requirement=made.task_loss_requirement,
        )
        np.testing.assert_array_equal(output.gazing_pos[0], wanted[f"gazing_pos_r{row}"])
        padded = wanted[f"if_padded_gazing_r{row}"].astype(bool)
        np.testing.assert_array_equal(output.if_padded_gazing[0], padded)
        counts = wanted[f"num_gazing_each_frame_r{row}"]
        np.testing.assert_array_equal(output.num_gazing_each_frame, counts)
        confidences = wanted[f"confidences_r{row}"]
        np.testing.assert_allclose(output.confidences[0], confidences, atol=1e-4)


def test_the_cases_stop_pad_and_use_up_their_budgets() -> None:
    """What the cases are for; another seed could lose it."""
    wanted = {name: load_file(FOLDER / f"{name}.safetensors") for name in NAMES}
    assert wanted["narrow-budgets"]["num_gazing_each_frame_r0"].tolist() == [58, 8, 13]
    for name in ("narrow-stop", "published-stop"):
        rows = [wanted[name][f"num_gazing_each_frame_r{row}"].tolist() for row in (0, 1)]
        assert rows[0] != rows[1]
        assert sum(int(wanted[name][f"if_padded_gazing_r{row}"].sum()) for row in (0, 1)) > 0
        budgets = case(name).budgets
        assert any(n < most for row in rows for n, most in zip(row, budgets, strict=True))
        assert any(n == most for row in rows for n, most in zip(row, budgets, strict=True))


@pytest.mark.parametrize("name", NARROW)
def test_the_generator_makes_the_stored_outputs(name: str) -> None:
    tensors, notes = case(name).outputs()
    stored = FOLDER / f"{name}.safetensors"
    assert differences(stored, tensors, notes) == []
    tensors["gazing_pos_r0"][3] += 1
    notes["sha256_frames"] = "0"
    assert differences(stored, tensors, notes) == ["gazing_pos_r0", "sha256_frames"]


def test_the_narrow_case_as_the_script_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.make_parity", "narrow-budgets", "-o", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    folder = tmp_path / "narrow-budgets"
    engine = load_model(folder / "checkpoint")
    frames = np.load(folder / "frames.npz")["frames"][0]
    output = engine.generate(engine.preprocess(frames), max_gaze_tokens_each_frame=[58, 8, 13])
    wanted = load_file(folder / "outputs.safetensors")
    np.testing.assert_array_equal(output.gazing_pos[0], wanted["gazing_pos_r0"])


@pytest.mark.parametrize("name", ["narrow-stop", "published-stop"])
def test_preprocessing_and_vision_equal_the_reference(name: str) -> None:
    made, engine = case(name), model(name)
    frames = made.frames[0, :2]
    video, wanted = engine.preprocess(frames), preprocessed(frames, made.preprocessor)
    np.testing.assert_array_equal(video[0], wanted)
    # Weights of the resize are of float32 here, and of pixels next to each other: so the tolerance.
    squared = resize_in_model(video, engine.config.input_img_size)
    np.testing.assert_allclose(squared[0], square(wanted, squared.shape[-1]), atol=2e-4)
    embedded, _ = engine.network.gazing_model.embed_video(squared, None)
    reference = Reference(made.config, made.weights).embed(wanted)
    np.testing.assert_allclose(embedded[0], reference, atol=1e-4)


@pytest.mark.parametrize("name", ["make_parity", "parity_reference"])
def test_the_reference_shares_no_code_with_the_engine(name: str) -> None:
    tree = ast.parse((ROOT / "scripts" / f"{name}.py").read_text())
    imported = {
        module.split(".")[0]
        for node in ast.walk(tree)
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) <= {"numpy", "safetensors", "scripts"}
