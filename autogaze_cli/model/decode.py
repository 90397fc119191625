"""The decode loop: a prefill per frame, then one decode step per chunk of ``K`` tokens.

Source: inference spec 3.4 to 3.9. Sequences of different lengths run together, packed into one
matrix, each with its own cache. Every sequence behaves exactly as if it were decoded alone, so the
composition of a batch never changes a result; unless the published coupling of a batch is asked
for, which is ``Decoder.feed_ended`` and nothing else.
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
        coupled: bool = False,
    ) -> FrameGaze:
        """Gaze at one frame.

        Args:
            caches: The sequences' caches, advanced in place.
            vision: Embedded frame of each sequence, ``[b, tokens, c]``.
            max_tokens: Token budget of each sequence, at least 1.
            task_loss_requirement: A token is suppressed when its predicted loss is at most this.
            coverage: A sequence ends when this fraction of the frame is covered; None = never.
            horizon: Frames visible to a query, the present one included; None = all.
            coupled: Whether sequences influence each other as in the published code.

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
            ended, active = active[~running].tolist(), active[running]
            if not len(active):
                break
            if coupled and ended:
                k = self.config.num_multi_token_pred
                # A shorter chunk is one of scores that are not finite.
                whole = [i for i in ended if chooser.counts[i] >= k]
                self.feed_ended([(caches[i], chooser.last_chunk(i, k)) for i in whole])
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

    def feed_ended(self, ended: Sequence[tuple[KVCache, NDArray[np.int64]]]) -> None:
        """Feed the last chunks of sequences that ended while others of their batch go on.

        The published code feeds the chunks of a whole batch as long as one of its sequences goes
        on. A sequence that has ended before thereby gets its last chunk into the cache within the
        frame: at the positions that the frame's chunks share, and with its padding seen by the
        chunk's later tokens; from the next frame on the padding is hidden. In a sequence alone
        that chunk waits for the next frame, where it takes positions of its own, and its padding
        is never seen. What the published code feeds of an ended sequence after that is padding
        alone, and without effect.

        Args:
            ended: Cache and last chunk of each, ``int64 [K]``, the padding id where padded.

        Source: inference spec 3.8; 3.6 steps 10 to 14.
        """
        if not ended:
            return
        for cache, chunk in ended:
            cache.pending = chunk
        self.decode_step([cache for cache, _ in ended])
        for cache, chunk in ended:
            cache.keep_of_last(chunk != self.config.eos_token_id)
            cache.pending = chunk[:0]

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
