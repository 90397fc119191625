"""Token for token against the published implementation, on seeded checkpoints.

The small cases are in ``fixtures/parity``. The larger ones are used when ``AUTOGAZE_PARITY`` names
their folder.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.output import GazeOutput

ROOT = Path(__file__).parents[2]
LARGE = Path(os.environ.get("AUTOGAZE_PARITY") or "no-parity-data")
SMALL_CASES = sorted(p.name for p in (ROOT / "fixtures" / "parity").iterdir() if p.is_dir())
LARGE_CASES = ["full-b1-t16-stop", "full-b1-t2-wide-list", "full-b2-t4-stream", "full-b4-t4-stop"]
TILED = [name for name in SMALL_CASES if "tiles" in name]
UNTILED = [name for name in SMALL_CASES if "tiles" not in name] + LARGE_CASES


@cache
def model(name: str) -> AutoGaze:
    small = ROOT / "fixtures" / name
    return load_model(small if small.is_dir() else LARGE / "checkpoints" / name)


def folder(name: str) -> Path:
    if name in SMALL_CASES:
        return ROOT / "fixtures" / "parity" / name
    if not (LARGE / "cases" / name).is_dir():
        pytest.skip(f"the larger parity data is not there (AUTOGAZE_PARITY is {LARGE})")
    return LARGE / "cases" / name


class Case:
    def __init__(self, name: str) -> None:
        self.entry: dict[str, Any] = json.loads((folder(name) / "case.json").read_text())
        self.settings = self.entry["settings"]
        self.alone = load_file(folder(name) / "outputs_alone.safetensors")
        self.coupled = load_file(folder(name) / "outputs.safetensors")
        self.frames: NDArray[np.uint8] = np.load(folder(name) / "frames.npz")["frames"]
        self.model = model(self.entry["checkpoint"])

    def video(self) -> Tensor:
        size = self.settings["processor_size"]
        return self.model.preprocess(
            self.frames, size=size if isinstance(size, dict) else tuple(size)
        )

    def generate(self, video: Tensor, **more: Any) -> GazeOutput:
        s = self.settings
        return self.model.generate(
            video,
            gazing_ratio=s["gazing_ratio"],
            task_loss_requirement=s["task_loss_requirement"],
            **more,
        )

    def rows_equal_coupled_run(self) -> bool:
        alone = self.entry.get("each_frame_equals_run_alone")
        return len(self.frames) == 1 or (alone is not None and all(map(all, alone)))


def own_slots(output: GazeOutput, row: int) -> NDArray[np.bool_]:
    """Which slots of a batch row are its own, and not filled up for its batch mates."""
    return np.concatenate(
        [
            np.arange(int(slots)) < int(own)
            for slots, own in zip(
                output.num_gazing_each_frame, output.num_gazing_each_row[row], strict=True
            )
        ]
    )


@pytest.mark.parametrize("name", UNTILED + TILED)
def test_preprocessed_video(name: str) -> None:
    case = Case(name)
    video, wanted = case.video(), case.entry["preprocessed"]
    assert list(video.shape) == wanted["shape"]
    assert video.dtype == torch.float32
    assert video.double().sum().item() == pytest.approx(wanted["sum"], rel=1e-9)
    assert video.double().abs().sum().item() == pytest.approx(wanted["abs_sum"], rel=1e-9)
    for sample in wanted["samples"]:
        assert video[tuple(sample["index"])].item() == pytest.approx(sample["value"], abs=1e-6)


@pytest.mark.parametrize("name", UNTILED)
def test_tokens_of_rows_alone(name: str) -> None:
    case = Case(name)
    video = case.video()
    for row in range(len(video)):
        output = case.generate(video[row : row + 1])
        assert torch.equal(output.gazing_pos[0], case.alone[f"gazing_pos_r{row}"])
        assert torch.equal(
            output.if_padded_gazing[0], case.alone[f"if_padded_gazing_r{row}"].bool()
        )
        assert torch.equal(
            output.num_gazing_each_frame, case.alone[f"num_gazing_each_frame_r{row}"]
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")
@pytest.mark.parametrize("name", UNTILED)
def test_tokens_on_a_gpu(name: str) -> None:
    case = Case(name)
    checkpoint = case.entry["checkpoint"]
    small = ROOT / "fixtures" / checkpoint
    case.model = load_model(small if small.is_dir() else LARGE / "checkpoints" / checkpoint, "cuda")
    video = case.video()
    batch = case.generate(video)
    for row in range(len(video)):
        wanted = case.alone[f"gazing_pos_r{row}"]
        assert torch.equal(batch.gazing_pos[row, own_slots(batch, row)], wanted)
        assert torch.equal(case.generate(video[row : row + 1]).gazing_pos[0], wanted)


@pytest.mark.parametrize("name", UNTILED)
def test_batch_rows_equal_rows_alone_to_the_bit(name: str) -> None:
    case = Case(name)
    video = case.video()
    if len(video) == 1:
        video = torch.cat([video, video.flip(-1), video.flip(-2)])
    batch = case.generate(video)
    for row in range(len(video)):
        alone, keep = case.generate(video[row : row + 1]), own_slots(batch, row)
        assert torch.equal(batch.gazing_pos[row, keep], alone.gazing_pos[0])
        assert torch.equal(batch.if_padded_gazing[row, keep], alone.if_padded_gazing[0])
        assert torch.equal(batch.confidences[row, keep], alone.confidences[0])
        assert bool(batch.if_padded_gazing[row, ~keep].all())


@pytest.mark.parametrize("name", UNTILED + TILED)
def test_published_rows_equal_the_published_batch(name: str) -> None:
    case, wanted = Case(name), Case(name).coupled
    s, video = case.settings, case.video()
    adapt = {key: s[key] for key in ("target_scales", "target_patch_size")}
    output = case.generate(video, rows="published", **adapt)
    assert torch.equal(output.gazing_pos, wanted["gazing_pos"])
    assert torch.equal(output.if_padded_gazing, wanted["if_padded_gazing"].bool())
    assert torch.equal(output.num_gazing_each_frame, wanted["num_gazing_each_frame"])
    for scale, mask in enumerate(output.gazing_masks):
        assert torch.equal(mask, wanted[f"gazing_mask_{scale}"])


def test_published_rows_of_a_stream_equal_those_of_the_whole_clip() -> None:
    case = Case("tiny-b4-t4-stop")
    video, state = case.video(), case.model.new_state(4)
    steps = [
        case.generate(video[:, t : t + 1], rows="published", state=state)
        for t in range(video.shape[1])
    ]
    ids = torch.cat([step.gazing_pos + 265 * t for t, step in enumerate(steps)], dim=1)
    assert torch.equal(ids, case.coupled["gazing_pos"])


@pytest.mark.parametrize("name", UNTILED)
def test_frame_by_frame_equals_the_whole_clip_to_the_bit(name: str) -> None:
    case = Case(name)
    if isinstance(case.settings["gazing_ratio"], list):
        pytest.skip("one ratio a frame")
    video = case.video()
    whole = case.generate(video)
    state = case.model.new_state(len(video))
    steps = [case.generate(video[:, t : t + 1], state=state) for t in range(video.shape[1])]
    n = whole.num_vision_tokens_each_frame
    ids = torch.cat([step.gazing_pos + n * t for t, step in enumerate(steps)], dim=1)
    assert torch.equal(ids, whole.gazing_pos)
    assert torch.equal(torch.cat([s.confidences for s in steps], dim=1), whole.confidences)


@pytest.mark.parametrize("name", UNTILED)
def test_masks_and_counts(name: str) -> None:
    case = Case(name)
    if not case.rows_equal_coupled_run():
        pytest.skip("upstream's batch couples rows that stop at different lengths")
    output = case.generate(case.video())
    for scale, mask in enumerate(output.gazing_masks):
        assert torch.equal(mask, case.coupled[f"gazing_mask_{scale}"])
    assert output.num_gazing_each_frame.tolist() == case.entry["num_gazing_each_frame"]


class RecordingDecoder:
    """Keeps what every decoder call was given and gave, in order."""

    def __init__(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[SimpleNamespace] = []
        decoder = case.model._decoder
        run, heads = decoder.run, decoder.heads

        def recording_run(
            x: Tensor, positions: NDArray[np.int64], rows: Any, lengths: Any
        ) -> Tensor:
            hidden = run(x, positions, rows, lengths)
            self.steps.append(
                SimpleNamespace(
                    first=int(positions[0]),
                    last=int(positions[-1]),
                    input_len=len(x),
                    kv_len=rows[0].end - rows[0].start,
                )
            )
            return hidden

        def recording_heads(hidden: Tensor) -> Any:
            logits, losses = heads(hidden)
            self.steps[-1].logits, self.steps[-1].losses = logits[0].copy(), losses[0].copy()
            return logits, losses

        monkeypatch.setattr(decoder, "run", recording_run)
        monkeypatch.setattr(decoder, "heads", recording_heads)


@pytest.mark.parametrize("name", [n for n in UNTILED if "-b1-" in n])
def test_every_recorded_decoder_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(name)
    recorded = RecordingDecoder(case, monkeypatch)
    case.generate(case.video())
    wanted = case.coupled
    # A call is found by its frame and the tokens chosen in it so far.
    keys = []
    frame, before = -1, 0
    for step in recorded.steps:
        if step.input_len > 10:
            frame, before = frame + 1, 0
        keys.append((frame, before))
        before += 10
    assert len(wanted["step_frame"]) > 0
    for i in range(len(wanted["step_frame"])):
        key = (int(wanted["step_frame"][i]), int(wanted["step_tokens_before"][i]))
        step = recorded.steps[keys.index(key)]
        np.testing.assert_allclose(step.logits, wanted["step_logits"][i, 0], atol=1e-3)
        np.testing.assert_allclose(step.losses, wanted["step_task_loss"][i, 0], atol=1e-4)
        assert step.last == int(wanted["step_position_last"][i, 0])


@pytest.mark.parametrize("name", UNTILED)
def test_vision_embeddings(name: str) -> None:
    case = Case(name)
    if "vision_embeds" not in case.coupled:
        pytest.skip("the case records none")
    embedded, _ = case.model.network.gazing_model.embed_video(case.video(), None)
    torch.testing.assert_close(embedded, case.coupled["vision_embeds"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", UNTILED)
def test_teacher_forced_scores(name: str) -> None:
    case = Case(name)
    if "teacher_log_prob" not in case.coupled:
        pytest.skip("the case records none")
    gaze: Any = SimpleNamespace(
        gazing_pos=case.coupled["gazing_pos"],
        if_padded_gazing=case.coupled["if_padded_gazing"].bool(),
        num_gazing_each_frame=case.coupled["num_gazing_each_frame"],
    )
    scores = case.model.score(case.video(), gaze)
    torch.testing.assert_close(
        scores.log_action_probs, case.coupled["teacher_log_prob"], atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        scores.task_loss_prediction, case.coupled["teacher_task_loss"], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", TILED)
def test_target_scales(name: str) -> None:
    case = Case(name)
    s = case.settings
    output = case.generate(
        case.video(),
        target_scales=s["target_scales"],
        target_patch_size=s["target_patch_size"],
    )
    wanted = case.coupled
    if s["task_loss_requirement"] is None:  # upstream's tiles are not coupled then
        assert torch.equal(output.gazing_pos, wanted["gazing_pos"])
        assert torch.equal(output.if_padded_gazing, wanted["if_padded_gazing"].bool())
    # Against rows alone: every tile's cells, put where the tile lies.
    grids = [scale // s["target_patch_size"] for scale in s["target_scales"]]
    per_side = 2
    for scale, (mask, grid) in enumerate(zip(output.gazing_masks, grids, strict=True)):
        tile_grid = (2, 4, 7, 14)[scale]
        offset = sum(g * g for g in (2, 4, 7, 14)[:scale])
        image = np.zeros(
            (len(case.frames[0]), per_side * tile_grid, per_side * tile_grid), np.uint8
        )
        for tile in range(per_side**2):
            ids = case.alone[f"gazing_pos_r{tile}"].numpy()
            valid = case.alone[f"if_padded_gazing_r{tile}"].numpy() == 0
            counts = case.alone[f"num_gazing_each_frame_r{tile}"].numpy()
            frame = np.repeat(np.arange(len(counts)), counts)
            cell = ids - 265 * frame - offset
            keep = valid & (cell >= 0) & (cell < tile_grid**2)
            row, col = np.divmod(cell[keep], tile_grid)
            top, left = (tile // per_side) * tile_grid, (tile % per_side) * tile_grid
            image[frame[keep], top + row, left + col] = 1
        np.testing.assert_array_equal(
            mask[0].numpy(), image[:, :grid, :grid].reshape(len(image), -1)
        )
    valid_count = int((~output.if_padded_gazing).sum())
    assert valid_count == sum(int(mask.sum()) for mask in output.gazing_masks)
