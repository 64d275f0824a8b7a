"""Where records go while a run trains: a flushed file, a progress bar, W&B."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from .train import Record, task_metrics

PLAIN_LINES = 20  # progress lines in a run whose output is piped


class Sink(Protocol):
    """Takes every record of a run, then the end of it."""

    def write(self, record: Record) -> None:
        """Take one record."""

    def close(self, summary: dict[str, Any], figure: Path | None) -> None:
        """The run is over, whether it finished or not; ``figure`` is its plot, if there is one."""


class JsonLines:
    """``metrics.jsonl``: one JSON object per step, flushed at once; the source of truth."""

    def __init__(self, path: Path) -> None:
        self.file: TextIO = path.open("a", encoding="utf-8")

    def write(self, record: Record) -> None:
        """Append the record as one line."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def close(self, summary: dict[str, Any], figure: Path | None) -> None:
        """Close the file; the summary has one of its own."""
        self.file.close()


class Progress:
    """A progress bar on a terminal, about twenty plain lines anywhere else."""

    def __init__(self, steps: int, baseline: float, label: str) -> None:
        self.steps, self.baseline, self.label = steps, baseline, label
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

    def close(self, summary: dict[str, Any], figure: Path | None) -> None:
        """Leave the last state of the bar on the screen."""
        self.bar.close()

    def _describe(self, record: Record) -> str:
        parts = [f"loss {record['loss']:.1e} (baseline {self.baseline:.1e})"]
        parts += [f"{name} {value:.1%}" for name, value in task_metrics(record).items()]
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

    def close(self, summary: dict[str, Any], figure: Path | None) -> None:
        """Add the summary and the figure, and end the run."""
        if figure is not None:
            self.run.log({"figure": self.wandb.Image(str(figure))})
        self.run.summary.update(summary)
        self.run.finish(exit_code=0 if summary["status"] == "finished" else 1)
