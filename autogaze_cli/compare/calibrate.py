"""How a model's predicted loss compares with the loss it ends at, and where it should stop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from autogaze_cli.batch.outputs import Outputs, name_temporaries
from autogaze_cli.batch.report import OnEvent, Report
from autogaze_cli.batch.result import Result
from autogaze_cli.batch.work import Do, Task
from autogaze_cli.compare.clip import Clip
from autogaze_cli.compare.failures import Failure, failures_markdown, failures_of
from autogaze_cli.compare.promise import clips_needed, promise
from autogaze_cli.compare.run import Execution, measure_clips, model_hashes
from autogaze_cli.compare.settings import FRAMES, check_frames, plain_sampling
from autogaze_cli.compare.text import aligned
from autogaze_cli.compare.work import DIGITS, opened, read_clip, worker_threads
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.progress import Advance
from autogaze_cli.sources.source import GazeSource
from autogaze_cli.version import __version__
from autogaze_cli.visualize.document import write_document

logger = logging.getLogger(__name__)

REQUIREMENTS = (0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateSettings:
    """What is calibrated, and on what.

    Attributes:
        model: A model's name or folder.
        requirements: Task loss requirements to try.
        target: The loss to reach; None = choose none.
        confidence: The fraction of frames of further clips that must reach it.
        sampling: The frames of each clip.
        device: Where the model runs.
        dtype: Its precision.
        threads: CPU threads; None = PyTorch's own choice.
    """

    model: str
    requirements: tuple[float, ...] = REQUIREMENTS
    target: float | None = None
    confidence: float = 0.95
    sampling: Sampling = field(default_factory=lambda: Sampling(frames=FRAMES))
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be calibrated."""
        if not self.requirements or list(self.requirements) != sorted(set(self.requirements)):
            raise ConfigError("requirements must be one or more numbers, ascending")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence must be above 0 and below 1, not {self.confidence}")
        check_frames(self.sampling)
        for requirement in self.requirements:  # GazeSettings refuses what it cannot be
            self.gaze(requirement)

    def gaze(self, requirement: float) -> GazeSettings:
        """The gaze settings of a requirement, with the model's own budget."""
        return GazeSettings(
            mask_source="autogaze",
            model=self.model,
            task_loss_requirement=requirement,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
        )

    def described(self) -> dict[str, Any]:
        """All that losses depend on, as JSON values."""
        return {
            "model": self.model,
            "requirements": list(self.requirements),
            "sampling": plain_sampling(self.sampling),
            "dtype": self.dtype,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateWork:
    """Gazes at each clip once per requirement, ``STEM.calibrate.json``.

    Attributes:
        settings: What is calibrated.
        out_dir: Output folder.
        run: The run's name in temporary files.
    """

    settings: CalibrateSettings
    out_dir: Path
    run: str = ""

    def of_run(self, run: str) -> Self:
        """A copy whose temporary files have that run's name."""
        return replace(self, run=run)

    def open(self, worker: int, workers: int) -> Do:
        """Load the model once for all requirements."""
        name_temporaries(self.run)
        s = replace(self.settings, threads=worker_threads(self.settings.threads, workers))
        sources: dict[float, GazeSource] = {}
        first: GazeSource | None = None
        for requirement in s.requirements:
            sources[requirement] = opened(s.gaze(requirement), first)
            first = first or sources[requirement]
        return partial(self._one, sources)

    def _one(self, sources: Mapping[float, GazeSource], task: Task, step: Advance) -> Result:
        frames = read_clip(task, self.settings.sampling, motion=False)
        clip, rows = Clip([frame.rgb for frame in frames]), []
        for done, (requirement, source) in enumerate(sources.items(), 1):
            gaze = [found.fixations for _, found in source.trace(iter(frames))]
            rows.append(
                {
                    "requirement": requirement,
                    "losses": clip.play(gaze).loss.round(DIGITS).tolist(),
                    "tokens": [len(fixations.active()) for fixations in gaze],
                }
            )
            step(done * len(frames), len(sources) * len(frames))
        path = self.out_dir / task.item.stem.with_name(f"{task.item.stem.name}.calibrate.json")
        document = {"format": "autogaze-calibrate-clip", "version": 1}
        document |= {"input": task.item.name, "frames": len(frames), "rows": rows}
        with Outputs(overwrite=task.overwrite) as outputs:
            write_document(outputs.add(path), document)
        return Result(files={"figures": path}, document=document)


def calibrate(
    names: Sequence[str],
    settings: CalibrateSettings,
    execution: Execution,
    on_event: OnEvent | None = None,
) -> tuple[Report, dict[str, Any] | None]:
    """Measure how a model keeps its requirements, and choose one; arguments as ``compare``.

    Raises:
        AutogazeError: Nothing can be measured, or outputs exist already.
    """
    models = model_hashes([settings.gaze(settings.requirements[0])])
    report, clips = measure_clips(
        "calibrate",
        names,
        CalibrateWork(settings=settings, out_dir=execution.out_dir),
        settings.sampling,
        settings.described() | {"models": models},
        execution,
        rows=len(settings.requirements),
        finals=("calibrate.json",),
        on_event=on_event,
    )
    if not clips:
        return report, None
    document = calibrate_document(settings, models[settings.model], clips, failures_of(report))
    path = execution.out_dir / "calibrate.json"
    with Outputs(overwrite=execution.overwrite or execution.resume) as outputs:
        write_document(outputs.add(path), document)
    logger.info("wrote %s", path)
    return report, document


def calibrate_document(
    settings: CalibrateSettings,
    sha256: str | None,
    clips: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure] = (),
) -> dict[str, Any]:
    """The whole calibration, from the documents of its clips and the inputs that failed."""
    losses = np.array([[row["losses"] for row in clip["rows"]] for clip in clips])
    tokens = np.array([[row["tokens"] for row in clip["rows"]] for clip in clips])
    document: dict[str, Any] = {
        "format": "autogaze-calibrate",
        "version": 1,
        "tool_version": __version__,
        "model_sha256": sha256,
        "settings": settings.described(),
        "rows": list(_rows(settings.requirements, losses, tokens)),
        "target": settings.target,
        "confidence": settings.confidence,
        "promise": None,
    }
    if settings.target is not None:
        found = promise(losses, settings.target, settings.confidence)
        best = 0 if found.index is None else found.index
        document["promise"] = {
            "requirement": None if found.index is None else settings.requirements[found.index],
            "tried": settings.requirements[best],
            "share_on_these": round(float((losses[:, best] <= settings.target).mean()), DIGITS),
            "held_out_share": None if found.held_out is None else round(found.held_out, DIGITS),
            "bound": round(found.bound, DIGITS),
            "clips_needed": clips_needed(settings.confidence),
        }
    document["clips"] = [
        {"input": clip["input"], "frames": clip["frames"], "rows": clip["rows"]} for clip in clips
    ]
    document["failures"] = list(failures)
    return document


def _rows(
    requirements: Sequence[float], losses: np.ndarray[Any, Any], tokens: np.ndarray[Any, Any]
) -> Iterator[dict[str, Any]]:
    for n, requirement in enumerate(requirements):
        yield {
            "requirement": requirement,
            "loss": round(float(losses[:, n].mean()), DIGITS),
            "loss_worst_clip": round(float(losses[:, n].mean(1).max()), DIGITS),
            "share_within": round(float((losses[:, n] <= requirement).mean()), DIGITS),
            "tokens_per_frame": round(float(tokens[:, n].mean()), DIGITS),
            "tokens_first_frame": round(float(tokens[:, n, 0].mean()), DIGITS),
        }


def calibration_text(document: Mapping[str, Any]) -> str:
    """The inputs that failed, the table, and the promise as a sentence."""
    head = ["asked", "got", "worst clip", "frames within", "tokens per frame", "in frame 0"]
    lines = [
        [
            f"{row['requirement']:g}",
            f"{row['loss']:.3f}",
            f"{row['loss_worst_clip']:.3f}",
            f"{row['share_within']:.1%}",
            f"{row['tokens_per_frame']:.1f}",
            f"{row['tokens_first_frame']:.1f}",
        ]
        for row in document["rows"]
    ]
    found = document["promise"]
    said = "" if found is None else f"\n{promise_line(document)}\n"
    tables = [*failures_markdown(document), aligned([head, *lines])]
    return "\n\n".join(tables) + f"\n{said}"


def promise_line(document: Mapping[str, Any]) -> str:
    """What was promised, or why nothing is."""
    found, count = document["promise"], len(document["clips"])
    wanted = f"a loss of {document['target']:g} on {document['confidence']:.0%} of frames"
    if found["requirement"] is not None:
        held = ""
        if found["held_out_share"] is not None:
            held = f", and {found['held_out_share']:.1%} when each clip is left out in turn"
        return (
            f"task_loss_requirement {found['requirement']:g} reaches {wanted} of further clips "
            f"like these: at least {1 - found['bound']:.1%} on average, by the bound; "
            f"{found['share_on_these']:.1%} on these{held}"
        )
    if count < found["clips_needed"]:
        most = count / (count + 1)
        return (
            f"no requirement is promised: {wanted} needs at least {found['clips_needed']} clips, "
            f"got {count}; give more, or --confidence {int(100 * most) / 100:g}"
        )
    return (
        f"no requirement reaches {wanted} of further clips: the strictest, {found['tried']:g}, "
        f"reaches it on {found['share_on_these']:.1%} of these; give a higher --target"
    )
