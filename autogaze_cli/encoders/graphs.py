"""Layers captured as CUDA graphs, for shapes that repeat: a GPU waits for no launches then."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from autogaze_cli.encoders.attention import Bucket, Packing
from autogaze_cli.encoders.network import VisionTransformer

MAX_TOKENS = 1 << 14
"""With more tokens a GPU has enough to do while the next kernel is launched."""

KEPT = 4
"""Graphs that are kept; the one that was used least recently goes first."""


class Graphs:
    """Runs the layers of a network, from the second time that a shape comes as a graph."""

    def __init__(self, network: VisionTransformer) -> None:
        self._network = network
        self._graphs: OrderedDict[tuple[object, ...], _Graph | None] = OrderedDict()

    def encode(self, x: Tensor, packing: Packing) -> Tensor:
        """As ``VisionTransformer.encode``; the result is the caller's."""
        if len(x) > MAX_TOKENS:
            return self._network.encode(x, packing)
        with torch.cuda.device(x.device):  # where graphs are captured and replayed
            return self._encode(x, packing)

    def _encode(self, x: Tensor, packing: Packing) -> Tensor:
        shape = packing.shape
        seen = shape in self._graphs
        graph = self._graphs.get(shape)
        if seen and graph is None:
            graph = _Graph(self._network, x, packing)
        self._graphs[shape] = graph
        self._graphs.move_to_end(shape)
        while len(self._graphs) > KEPT:
            self._graphs.popitem(last=False)
        return self._network.encode(x, packing) if graph is None else graph.replay(x, packing)


class _Graph:
    """The layers for one shape, with inputs and output in places of their own."""

    def __init__(self, network: VisionTransformer, x: Tensor, packing: Packing) -> None:
        self._x = x.clone()
        buckets = tuple(
            Bucket(b.sequences, b.index.clone(), None if b.mask is None else b.mask.clone(), None)
            for b in packing.buckets
        )
        self._packing = Packing(buckets, packing.order.clone(), packing.sequences)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # lets the libraries choose their kernels
            network.encode(self._x, self._packing)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._out = network.encode(self._x, self._packing)

    def replay(self, x: Tensor, packing: Packing) -> Tensor:
        """The layers on other tokens of that shape."""
        self._x.copy_(x)
        self._packing.order.copy_(packing.order)
        for own, bucket in zip(self._packing.buckets, packing.buckets, strict=True):
            own.index.copy_(bucket.index)
            if own.mask is not None and bucket.mask is not None:
                own.mask.copy_(bucket.mask)
        self._graph.replay()
        return self._out.clone()
