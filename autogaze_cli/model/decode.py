"""The decode loop: a prefill per frame, then one decode step per chunk of ``K`` tokens.

Source: inference spec 3.4 to 3.9. Sequences of different lengths run together, packed into one
matrix, each with its own cache. Every sequence behaves exactly as if it were decoded alone, so the
composition of a batch never changes a result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.model.cache import KVCache
from autogaze_cli.model.choose import Chooser, FrameGaze
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.model.layers import PackedWeights, normalise
from autogaze_cli.model.native import NativeLayers
from autogaze_cli.model.network import GazeDecoder
from autogaze_cli.model.packed import PackedLayers


class Decoder:
    """Runs a ``GazeDecoder`` over sequences with caches.

    Attributes:
        weights: The packed weights.
        layers: The fastest layers that serve this model, device and precision.
    """

    def __init__(self, module: GazeDecoder, config: GazeConfig) -> None:
        self.config = config
        self.weights = PackedWeights(module, config)
        self.layers: NativeLayers | PackedLayers = NativeLayers.for_weights(
            self.weights
        ) or PackedLayers(self.weights)

    def new_caches(self, count: int, capacity: int) -> list[KVCache]:
        """Empty caches with room for ``capacity`` tokens each."""
        c, block = self.config, self.layers.key_block
        capacity += -capacity % block
        shape = (c.num_key_value_heads, capacity, c.head_dim)
        blocks = (c.num_key_value_heads, capacity // block, c.head_dim, block)
        layers = range(c.num_hidden_layers)
        new = self.weights.embed.new_empty
        return [
            KVCache(
                keys=[new(shape if block == 1 else blocks) for _ in layers],
                values=[new(shape) for _ in layers],
                block=block,
            )
            for _ in range(count)
        ]

    def frame(
        self,
        caches: Sequence[KVCache],
        vision: Tensor,
        max_tokens: int,
        task_loss_requirement: float | None,
        coverage: float | None = None,
        horizon: int | None = None,
    ) -> FrameGaze:
        """Gaze at one frame.

        Args:
            caches: The sequences' caches, advanced in place.
            vision: Embedded frame of each sequence, ``[b, tokens, c]``.
            max_tokens: Token budget of each sequence, at least 1.
            task_loss_requirement: A token is suppressed when its predicted loss is at most this.
            coverage: A sequence ends when this fraction of the frame is covered; None = never.
            horizon: Frames visible to a query, the present one included; None = all.

        Returns:
            The gaze of each sequence.
        """
        chooser = Chooser(self.config, len(caches), max_tokens, task_loss_requirement, coverage)
        for cache in caches:
            if horizon is not None:
                cache.forget(horizon)
            cache.reserve(len(cache.pending) + vision.shape[1] + max_tokens)
        hidden = self.prefill(caches, vision)
        active = np.arange(len(caches))
        while True:
            logits, losses = self.heads(hidden)
            chunks, running = chooser.step(active, logits, losses)
            for index, chunk in zip(active.tolist(), chunks, strict=True):
                caches[index].pending = chunk
            active = active[running]
            if not len(active):
                break
            hidden = self.decode_step([caches[index] for index in active.tolist()])
        gaze = chooser.gaze()
        for cache, valid in zip(caches, (~gaze.padded).sum(axis=1), strict=True):
            cache.frames.append(vision.shape[1] + int(valid))
        return gaze

    def prefill(self, caches: Sequence[KVCache], vision: Tensor) -> Tensor:
        """Feed a frame: the last chunk of the frame before, then the vision tokens.

        Args:
            caches: The sequences' caches, with room for them.
            vision: Embedded frame of each sequence, ``[b, tokens, c]``.

        Returns:
            The last hidden state of each sequence, ``[b, c]``.
        """
        inputs, positions = [], []
        for cache, tokens in zip(caches, vision, strict=True):
            inputs += [self.weights.embed[cache.pending], tokens]
            first, count = cache.next_position, len(cache.pending) + len(tokens)
            positions.append(np.arange(first, first + count))
            cache.chunk_position = first + count - self.config.num_multi_token_pred
        lengths = [len(p) for p in positions]
        return self.run(torch.cat(inputs), np.concatenate(positions), caches, lengths)

    def decode_step(self, caches: Sequence[KVCache]) -> Tensor:
        """Feed the pending chunks, ``K`` tokens each, at the positions shared by all chunks.

        Args:
            caches: The sequences that have not ended.

        Returns:
            The last hidden state of each sequence, ``[len(caches), c]``.
        """
        k = self.config.num_multi_token_pred
        fed = np.concatenate([cache.pending for cache in caches])
        positions = np.concatenate(
            [np.arange(cache.chunk_position, cache.chunk_position + k) for cache in caches]
        )
        return self.run(self.weights.embed[fed], positions, caches, [k] * len(caches))

    def run(
        self,
        x: Tensor,
        positions: NDArray[np.int64],
        caches: Sequence[KVCache],
        lengths: list[int],
    ) -> Tensor:
        """Extend the caches by new tokens and run the layers: see ``PackedLayers.run``."""
        for cache, length in zip(caches, lengths, strict=True):
            cache.extend(length)
        return self.layers.run(x, positions, caches, lengths)

    def heads(self, hidden: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits ``[b, K, vocabulary]`` and predicted losses ``[b, K]``, on the host."""
        k = self.config.num_multi_token_pred
        y = normalise(hidden, self.config.rms_norm_eps)
        scores = self.layers.head_scores(y).cpu().numpy()
        return scores[:, :-k].reshape(len(hidden), k, -1), scores[:, -k:]
