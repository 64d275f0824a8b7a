"""Where records go while a run trains: a flushed file, a progress bar, W&B."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from .flow import LEAST, Flow
from .records import show_loss
from .tasks.task import Metric
from .train import Record

PLAIN_LINES = 20  # progress lines in a run whose output is piped


class Sink(Protocol):
    """Takes every record of a run, then the end of it."""

    def write(self, record: Record) -> None:
        """Take one record."""

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """A look into the model after a step, 0 being the start, and its drawing."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """The run is over, whether it finished or not; ``figures`` are its plots by name."""


class JsonLines:
    """``metrics.jsonl``: one JSON object per step, flushed at once; the source of truth."""

    def __init__(self, path: Path) -> None:
        self.file: TextIO = path.open("a", encoding="utf-8")

    def write(self, record: Record) -> None:
        """Append the record as one line."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Nothing: looks have a file of their own."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Close the file; the summary has one of its own."""
        self.file.close()


class Progress:
    """A progress bar on a terminal, about twenty plain lines anywhere else."""

    def __init__(
        self, steps: int, baseline: float, label: str, metrics: Mapping[str, Metric]
    ) -> None:
        self.steps, self.baseline, self.label = steps, baseline, label
        self.metrics = metrics
        self.interactive = sys.stderr.isatty()
        self.bar = tqdm(
            total=steps,
            desc=label,
            unit=" steps",
            dynamic_ncols=True,
            disable=not self.interactive,
            bar_format="{desc} {n}/{total} |{bar:8}| {remaining} left, {rate_fmt}{postfix}",
        )

    def write(self, record: Record) -> None:
        """Show where the run stands."""
        text = self._describe(record)
        step = int(record["step"])
        if self.interactive:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(step - self.bar.n)
        elif step == self.steps or step % max(1, self.steps // PLAIN_LINES) == 0:
            rate = step / max(record["seconds"], 1e-3)
            line = f"{self.label} {step}/{self.steps} {text} {rate:.3g} steps/s"
            left = f"{(self.steps - step) / rate:.0f} s left"
            print(f"{line}, {left}", file=sys.stderr, flush=True)

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Nothing: a look does not fit on a line."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Leave the last state of the bar on the screen."""
        self.bar.close()

    def _describe(self, record: Record) -> str:
        parts = [f"loss {show_loss(record['loss'])} (baseline {show_loss(self.baseline)})"]
        parts += [
            f"{name.replace('_', ' ')} {record[name]:{metric.show}}"
            for name, metric in self.metrics.items()
        ]
        if "orthogonality_error" in record:
            parts.append(f"‖WᵀW-I‖ {record['orthogonality_error']:.0e}")
        return " ".join(parts)


class Wandb:
    """A Weights & Biases run, offline by default: no account and no network are needed.

    Args:
        project: W&B project.
        mode: ``"online"`` or ``"offline"``.
        folder: where the run's files go.
        name: the run's name.
        group: name shared by the runs that differ by the seed alone.
        config: the resolved configuration as plain data.

    Raises:
        ValueError: if W&B cannot start, for lack of a key or of a network, say.
    """

    def __init__(
        self,
        project: str,
        mode: str,
        folder: Path,
        name: str,
        group: str,
        config: dict[str, Any],
    ) -> None:
        import wandb

        self.wandb = wandb
        try:
            self.run = wandb.init(
                project=project,
                mode=mode,  # type: ignore[arg-type]
                dir=folder,
                name=name[:128],
                group=group[:128],
                config=config,
                settings=wandb.Settings(console="off", silent=True, init_timeout=30),
            )
        except wandb.errors.Error as error:
            raise ValueError(
                f"W&B could not start ({error}); log in with `wandb login`, or take logger=offline"
            ) from error
        self.run.define_metric("*", step_metric="step")
        self.run.define_metric("loss", step_metric="step", summary="min,last")

    def write(self, record: Record) -> None:
        """Log the record under its own step."""
        self.run.log(record, step=int(record["step"]))

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Log histograms of the spectra, the drawing and the numbers, with the step's record."""
        logged: dict[str, Any] = {f"flow/{name}": value for name, value in flow.numbers().items()}
        for name, values in (("spectrum", flow.spectrum), ("jacobian", flow.jacobian)):
            if values:
                powers = [math.log10(max(value, LEAST)) for value in values]
                logged[f"flow/log10_{name}"] = self.wandb.Histogram(powers)
        logged["flow/gradients"] = self.wandb.Image(str(figure))
        self.run.log(logged, step=max(1, step))

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Add the summary and the figure, and end the run."""
        if figures:
            self.run.log({name: self.wandb.Image(str(path)) for name, path in figures.items()})
        self.run.summary.update(summary)
        self.run.finish(exit_code=0 if summary["status"] == "finished" else 1)
