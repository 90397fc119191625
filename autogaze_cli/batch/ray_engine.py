"""Work on a Ray cluster."""

from __future__ import annotations

from autogaze_cli.batch.work import Engine


def ray_engine(*, workers: int, address: str | None, gpus_per_worker: float | None) -> Engine:
    """An engine whose workers are actors of a Ray cluster."""
    raise NotImplementedError
