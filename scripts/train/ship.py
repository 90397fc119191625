"""Make the folder that is shipped of a trained state: loss head scaled, float16, with a threshold.

Usage: python -m scripts.train.ship --pack pack.zip --state FOLDER --out FOLDER --requirement 0.1

Training clips are augmented to be sharp, so that the loss head expects too much of plain footage.
It has no offset; one factor, fitted on the ``val`` split, mends most of that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.model.checkpoint import read_network
from scripts.train.checkpoint import published_config, save_checkpoint
from scripts.train.data import measured_clips, normalise, read_pack
from scripts.train.forward import Runner
from scripts.train.measure import budgets
from scripts.train.play import Player
from scripts.train.run import Examiner, exact

HEAD = "task_loss_prediction_head"


def best_factor(predicted: Tensor, losses: Tensor) -> float:
    """The factor on predictions with the least mean absolute error, to 0.005."""
    factors = [0.6 + 0.005 * i for i in range(101)]
    return min(factors, key=lambda factor: float((factor * predicted - losses).abs().mean()))


def main() -> None:
    """Write the folder and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--requirement", type=float, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    network, config, _ = read_network(args.state)
    network.to(args.device)
    k = config.num_multi_token_pred
    geometry = Geometry(config.layout, config.input_img_size, args.device)
    clips = measured_clips(read_pack(args.pack, "val")).to(args.device)
    player, runner = Player(geometry, len(clips), k), Runner(network, config)
    with exact():
        played = [
            player.play(normalise(clips), budgets(n, clips.shape[1]), runner, labels=False)
            for n in (10, 20)
        ]
    factor = best_factor(
        torch.cat([p.predicted.flatten() for p in played]),
        torch.cat([p.losses.flatten() for p in played]),
    )
    print(f"loss head times {factor:.3f}")
    weights = {
        name: (value * factor if HEAD in name else value).half()
        for name, value in network.state_dict().items()
    }
    save_checkpoint(args.out, weights, published_config(requirement=args.requirement))
    shipped, config, _ = read_network(args.out)
    print(Examiner(args.pack, geometry, k).table(Runner(shipped.to(args.device), config)))


if __name__ == "__main__":
    main()
