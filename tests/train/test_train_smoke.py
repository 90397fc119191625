"""The training code on the CPU: the simulator's invariants, decoding's scores, a falling loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.config import GazeConfig
from scripts.train.checkpoint import new_network, published_config, save_checkpoint
from scripts.train.data import Augmenter, Footage, normalise
from scripts.train.forward import Runner
from scripts.train.play import Player
from scripts.train.run import Settings, Trainer
from scripts.train.simulate import Canvas

TINY = published_config(hidden=16, layers=2, heads=1)
CONFIG = GazeConfig.from_mapping(TINY)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return Geometry(CONFIG.layout, 224)


@pytest.fixture(scope="module")
def footage() -> Footage:
    """Coloured squares that move over a lattice, and a still: nobody's pictures."""
    rng = np.random.default_rng(7)
    clip = np.zeros((6, 230, 300, 3), np.uint8)
    clip[:] = rng.integers(0, 256, (1, 23, 30, 3)).repeat(10, 1).repeat(10, 2)
    for t, frame in enumerate(clip):
        frame[60 + 9 * t : 110 + 9 * t, 80:140] = (250, 20, 60)
    return Footage.of_arrays({"clip": clip, "still": clip[:1, ::-1].copy()})


@pytest.fixture(scope="module")
def video(footage: Footage) -> Tensor:
    return normalise(Augmenter(footage, 3, part=2).clips(2, 3))


def test_every_scale_shows_the_reduced_and_enlarged_frame(
    geometry: Geometry, video: Tensor
) -> None:
    shown = geometry.shown(video[0])
    for picture, scale in zip(shown.unbind(1), CONFIG.layout.scales, strict=True):
        small = F.interpolate(video[0], (scale, scale), mode="bicubic", antialias=True)
        large = F.interpolate(small, (224, 224), mode="bilinear")
        torch.testing.assert_close(picture, large, atol=1e-4, rtol=0)


def test_losses_are_those_of_a_plainly_pasted_canvas(geometry: Geometry, video: Tensor) -> None:
    """Ids are pasted as pixels, finer over coarser; the loss is the mean over pixels."""
    rng = np.random.default_rng(0)
    canvas = Canvas(geometry, 2)
    plain = torch.zeros(2, 3, 224, 224)
    for frame in video.unbind(1):
        canvas.look(frame)
        shown = geometry.shown(frame)
        before = plain.clone()
        ids = np.stack([rng.permutation(265)[:30] for _ in range(2)])
        for n in range(30):
            for row in range(2):
                plain[row] = before[row]
                for token in sorted(ids[row, : n + 1]):  # ids ascend from coarse to fine
                    grid, y, x = (int(v) for v in CONFIG.layout.cells(token))
                    s = 224 // grid
                    cell = (slice(None), slice(y * s, y * s + s), slice(x * s, x * s + s))
                    rank = int(CONFIG.layout.scale_of(token))
                    plain[row][cell] = shown[row, rank][cell]
            gained = canvas.gains().gather(1, torch.from_numpy(ids[:, n : n + 1]))[:, 0]
            loss = canvas.loss()
            canvas.gaze(torch.from_numpy(ids[:, n]))
            torch.testing.assert_close(loss - canvas.loss(), gained, atol=2e-6, rtol=0)
        expected = (plain - frame).abs().mean((1, 2, 3))
        torch.testing.assert_close(canvas.loss(), expected, atol=2e-6, rtol=1e-5)


def test_the_teachers_loss_never_rises_and_all_tokens_show_the_frame(
    geometry: Geometry, video: Tensor
) -> None:
    played = Player(geometry, 2, 10).play(video, [265, 40, 13])
    falls = -played.losses.flatten(1).diff(dim=1)
    chunks = torch.tensor([27, 4, 2])
    within = torch.ones(falls.shape[1], dtype=torch.bool)
    within[(chunks.cumsum(0) * 10 - 1)[:-1]] = False  # the next frame is another picture
    assert falls[:, within].min() > -1e-6
    assert played.ends[:, 0].abs().max() < 1e-6
    first = played.ids[:, :265].sort(1).values
    assert torch.equal(first, torch.arange(265).expand(2, -1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AutoGaze:
    folder = tmp_path_factory.mktemp("tiny")
    network = new_network(CONFIG, 5)
    with torch.no_grad():
        network.gazing_model.gaze_decoder.lm_head.weight.mul_(30)  # clear winners
        network.gazing_model.gaze_decoder.task_loss_prediction_head.weight.mul_(10)
    save_checkpoint(folder, network.state_dict(), TINY)
    return load_model(folder)


@pytest.mark.parametrize("budgets", [[30, 10, 20], [27, 3, 14], [10, 1, 1]])
def test_play_and_training_agree_with_decoding(
    geometry: Geometry, video: Tensor, model: AutoGaze, budgets: list[int]
) -> None:
    runner = Runner(model.network, model.config)
    played = Player(geometry, 2, 10).play(video, budgets, runner)
    seen: list[tuple[Tensor, Tensor]] = []
    heads = model._decoder.heads

    def record(hidden: Tensor) -> tuple[np.ndarray, np.ndarray]:
        logits, losses = heads(hidden)
        seen.append((torch.from_numpy(logits.copy()), torch.from_numpy(losses.copy())))
        return logits, losses

    model._decoder.heads = record  # type: ignore[method-assign]
    gaze = model.generate(video, max_gaze_tokens_each_frame=budgets, task_loss_requirement=None)
    del model._decoder.heads
    frame = torch.repeat_interleave(torch.arange(3), torch.tensor(budgets))
    assert torch.equal(played.ids, gaze.gazing_pos - 265 * frame)
    with torch.no_grad():
        logits, losses = runner.scores(video, played.ids, budgets)
    decoded = torch.stack([pair[0] for pair in seen], dim=1)[..., :265]
    torch.testing.assert_close(logits, decoded, atol=1e-4, rtol=0)
    predicted = torch.stack([pair[1] for pair in seen], dim=1)
    torch.testing.assert_close(losses, predicted, atol=1e-4, rtol=0)
    torch.testing.assert_close(played.predicted, predicted, atol=1e-4, rtol=0)
    assert logits.abs().max() > 1


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_and_training_resumes(footage: Footage, tmp_path: Path) -> None:
    settings = Settings(rate=4e-3, warm_up=2, play=4, batch=4, frames=2)
    clips = Augmenter(footage, 1, part=4)
    trainer = Trainer(TINY, clips, settings, CPU)
    fixed = clips.clips(4, 2)
    trainer.augmenter.clips = lambda batch, frames: fixed  # type: ignore[method-assign]
    trainer.rng = np.random.default_rng(2)
    labels = [trainer.round(0.0)["labels"] for _ in range(10)]
    assert np.mean(labels[-3:]) < 0.93 * np.mean(labels[:3])
    trainer.save(tmp_path)
    again = Trainer(TINY, Augmenter(footage, 1, part=4), settings, CPU)
    again.resume(tmp_path)
    assert again.steps == trainer.steps
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
    load_model(tmp_path)
