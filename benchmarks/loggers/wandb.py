"""Records in Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record

from .fail_safe import LoggerUnavailable
from .logger import RunIdentity
from .wandb_files import run_options, write_options
from .wandb_rows import flow_row, record_row, summary_kinds
from .wandb_run import WandbRun, check_options, upload_command


class WandbLogger:
    """A Weights & Biases run, offline by default: no account and no network are needed.

    Online the rows go to the server while the run trains. Offline they are written once, at the
    end, from the files of the run, which are the source of truth: a run that is killed and resumed
    has every row once. ``python -m benchmarks.upload`` brings to W&B what it lacks of any run.

    The run's id lies in ``wandb/id``, so a resumed run goes on in the same one. The id of a sweep's
    agent (``WANDB_RUN_ID``) takes precedence. Where a server cannot be had, the run goes on offline
    and a warning says how to upload it; what no server would mend is refused.

    Args:
        identity: which run it is.
        project: W&B project.
        mode: ``"online"`` or ``"offline"``.
        timeout: seconds to wait for the server in all, half at the start and half at the end.

    Raises:
        ValueError: if W&B refuses, for lack of a key or for a project's name, say.
        LoggerUnavailable: if the folder of the run cannot be written.
    """

    def __init__(
        self, identity: RunIdentity, *, project: str, mode: str, timeout: float = 10
    ) -> None:
        check_options(project, mode, timeout)
        self.folder, self.timeout = identity.folder, timeout
        self.options = run_options(identity, project)
        self.kinds = summary_kinds(identity.metrics)
        self.online: WandbRun | None = None
        if mode == "online":
            try:
                self.online = self._open("online")
            except LoggerUnavailable as error:
                told = f"{error}; the run goes on offline, {upload_command(self.folder)}"
                warn(told.replace("could not start", "could not start online", 1))
        try:
            write_options(self.folder, self.options, self.kinds)
        except OSError as error:
            raise LoggerUnavailable(f"W&B could not start ({error})") from error
        if self.online is not None:
            self.online.log_files()  # rows that were lost when the run was killed

    def log_record(self, record: Record) -> None:
        """Log the record under its own step."""
        if self.online is not None:
            row = record_row(record, self.options["job_type"])
            self.online.log(int(record["step"]), row)

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Log histograms of the spectra, the drawing and the numbers, with the step's record."""
        if self.online is not None:
            row = flow_row(flow, self.online.histogram)
            image = self.online.image(figure)
            self.online.log(max(1, step), row | {"flow/gradients": image})

    def log_text(self, step: int, text: str) -> None:
        """Log the text as it stands."""
        if self.online is not None:
            self.online.log(max(1, step), {"sample": self.online.page(text)})

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Add the summary and the figures, and end the run; offline, write all of it."""
        run = self.online
        if run is None:
            run = self._open("offline")
            run.log_files()
        run.finish(summary, figures)

    def _open(self, mode: str) -> WandbRun:
        return WandbRun(self.folder, self.options, self.kinds, mode, self.timeout)
