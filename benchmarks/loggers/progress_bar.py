"""Where a run stands, for whoever watches it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record
from benchmarks.records.text import show_loss
from benchmarks.tasks.task import Metric

MAX_PLAIN_LINES = 20  # progress lines in a run whose output is piped


class ProgressBar:
    """A progress bar on a terminal, about twenty plain lines anywhere else.

    Args:
        steps: of the run.
        baseline: loss of the task's memoryless predictor.
        label: what stands before the numbers.
        metrics: of the task.
        done: steps that were done before, by a run that was stopped.
        alone: whether nothing else writes to the terminal; bars of several runs overwrite each
            other.
    """

    def __init__(
        self,
        steps: int,
        baseline: float,
        label: str,
        metrics: Mapping[str, Metric],
        done: int = 0,
        alone: bool = True,
    ) -> None:
        self.steps, self.baseline, self.label = steps, baseline, label
        self.metrics = metrics
        self.interactive = alone and sys.stderr.isatty()
        self.bar = tqdm(
            total=steps,
            initial=done,
            desc=label,
            unit=" steps",
            dynamic_ncols=True,
            disable=not self.interactive,
            bar_format="{desc} {n}/{total} |{bar:8}| {remaining} left, {rate_fmt}{postfix}",
        )

    def log_record(self, record: Record) -> None:
        """Show where the run stands."""
        text = self._describe(record)
        step = int(record["step"])
        if self.interactive:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(step - self.bar.n)
        elif step == self.steps or step % max(1, self.steps // MAX_PLAIN_LINES) == 0:
            rate = step / max(record["seconds"], 1e-3)
            line = f"{self.label} {step}/{self.steps} {text} {rate:.3g} steps/s"
            left = f"{(self.steps - step) / rate:.0f} s left"
            print(f"{line}, {left}", file=sys.stderr, flush=True)

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Nothing: a look does not fit on a line."""

    def log_text(self, step: int, text: str) -> None:
        """Nothing: a text does not fit on a line."""

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
