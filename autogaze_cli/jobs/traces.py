"""The work of ``readout`` on saved traces, which needs no video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from autogaze_cli.batch.outputs import name_temporaries
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.jobs.plan import Plan
from autogaze_cli.jobs.readout import about, read_out_trace
from autogaze_cli.jobs.request import Request
from autogaze_cli.progress import Advance
from autogaze_cli.readout import first_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceWork:
    """The processing of each saved trace by ``readout``.

    Attributes:
        request: The request.
        run: The run's name in temporary files.
    """

    request: Request
    run: str = ""

    def of_run(self, run: str) -> Self:
        """A copy whose temporary files have that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Nothing needs to be loaded."""
        name_temporaries(self.run)
        return self._one

    def _one(self, task: Task, advance: Advance) -> Result:
        request, item = self.request, task.item
        assert request.readout is not None
        trace = request.read_trace(item.path)
        if request.sampling.frames is not None:
            with about(item.name):
                trace = first_frames(trace, request.sampling.frames)
        result = read_out_trace(
            trace,
            item.name,
            request.batch.out_dir / item.stem,
            request.readout,
            format=request.format,
            overwrite=task.overwrite,
        )
        advance(len(trace), len(trace))
        return result


def plan_of_traces(request: Request) -> Plan:
    """The plan for saved traces."""
    return Plan(
        work=TraceWork(request=request),
        check=lambda item: request.read_trace(item.path) and None,
        described=request.output_settings(),
    )
