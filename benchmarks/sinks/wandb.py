"""Records in Weights & Biases."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.flow import LEAST, Flow
from benchmarks.record import Record


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
