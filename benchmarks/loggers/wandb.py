"""Records in Weights & Biases."""

from __future__ import annotations

import contextlib
import html
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.gradient_flow import PLOT_FLOOR, GradientFlow
from benchmarks.records.files import METRICS
from benchmarks.records.record import VALIDATION, Record
from benchmarks.records.run import read_records
from benchmarks.system.environment import ROOT
from benchmarks.tasks.task import Metric

from .fail_safe import LoggerUnavailable
from .logger import RunIdentity
from .wandb_files import (
    find_parts,
    is_offline,
    last_row,
    mark_uploaded,
    run_id,
    shorten_name,
    shorten_tag,
)

if TYPE_CHECKING:
    from wandb import Run

GRACE_SECONDS = 3  # seconds for W&B to keep its own promises
DISK_TIMEOUT_SECONDS = 60  # seconds for what waits for the disk alone


class WandbLogger:
    """A Weights & Biases run, offline by default: no account and no network are needed.

    The run's id lies in ``wandb/id``, so a resumed run goes on in the same one: online at once,
    offline as a second folder, which ``wandb sync`` appends to the first. Rows that W&B has are not
    logged twice, and those that it lost when the run was killed, up to fifteen seconds, are taken
    from ``metrics.jsonl``. The id of a sweep's agent (``WANDB_RUN_ID``) takes precedence.

    Where a server cannot be had, the run goes on offline and a warning says how to upload it; what
    no server would mend is refused. After an error W&B is let go of, so that the next run of this
    process starts it afresh. Beside the record, every row has ``BENCHMARK/step`` and
    ``BENCHMARK/steps_per_second``: an axis that belongs to the runs of one benchmark alone. W&B's
    own reports of errors and use are off unless ``WANDB_ERROR_REPORTING`` asks for them: they are
    sent in offline mode too, and make a process wait for a server that does not answer. Its
    messages and its question for a key are off unless ``WANDB_SILENT=false``.

    Args:
        identity: which run it is.
        project: W&B project.
        mode: ``"online"`` or ``"offline"``.
        timeout: seconds to wait for the server in all, half at the start and half at the end.

    Raises:
        ValueError: if W&B refuses, for lack of a key or for a project's name, say.
        LoggerUnavailable: if it cannot start even offline.
    """

    def __init__(
        self, identity: RunIdentity, *, project: str, mode: str, timeout: float = 10
    ) -> None:
        if not 0 < timeout < math.inf:  # to W&B, 0 is for ever
            raise ValueError(f"timeout must be a number of seconds > 0, got {timeout}")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self.wandb = wandb
        self.benchmark, self.folder = identity.job_type, identity.folder
        self.kept = summary_kinds(identity.metrics)
        self.parts = find_parts(identity.folder)
        self.resumed = bool(self.parts or identity.step)
        self.run = self._start(identity, project, mode, timeout)
        with self._letting_go():
            self.last = self._last(identity.step)
            self._define()
            self._catch_up(identity.step)

    def log_record(self, record: Record) -> None:
        """Log the record under its own step."""
        step = int(record["step"])
        own: dict[str, Any] = {f"{self.benchmark}/step": step}
        if record["seconds"] > 0:
            own[f"{self.benchmark}/steps_per_second"] = step / record["seconds"]
        self._log(step, lambda: {**record, **own})

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Log histograms of the spectra, the drawing and the numbers, with the step's record."""

        def look() -> dict[str, Any]:
            logged: dict[str, Any] = {f"flow/{k}": value for k, value in flow.numbers().items()}
            for name, values in (("spectrum", flow.spectrum), ("jacobian", flow.jacobian)):
                if values:
                    powers = [math.log10(max(value, PLOT_FLOOR)) for value in values]
                    logged[f"flow/log10_{name}"] = self.wandb.Histogram(powers)
            return logged | {"flow/gradients": self._image(figure)}

        self._log(max(1, step), look)

    def log_text(self, step: int, text: str) -> None:
        """Log the text as it stands."""
        page = f"<pre>{html.escape(text)}</pre>"
        self._log(max(1, step), lambda: {"sample": self.wandb.Html(page)})

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Add the summary and the figures, and end the run."""
        # the last and the best of what is logged at every step is in the summary already
        added = {k: v for k, v in summary.items() if not k.startswith(VALIDATION)}
        with self._letting_go():
            # this ends the last row, which would else come after the summary and write over it
            self.run.log({k: self._image(p) for k, p in figures.items()})
            self.run.summary.update(added)
            if self.resumed:
                self.run.summary.update(self._best())
            with self._watched(self.patience + GRACE_SECONDS):
                self.run.finish(exit_code=0 if summary["status"] == "finished" else 1)
            if not self.run.offline:  # earlier parts too: this one has caught up
                mark_uploaded(find_parts(self.folder))

    def _start(self, identity: RunIdentity, project: str, mode: str, timeout: float) -> Run:
        """A run at W&B: online if that is wanted and can be had, else offline."""
        refusals = (self.wandb.errors.UsageError, self.wandb.errors.AuthenticationError, ValueError)
        try:
            return self._init(identity, project, mode, timeout / 2)
        except refusals as error:
            told = " ".join(str(error).split())
            raise ValueError(
                f"W&B could not start ({told}); log in with `wandb login`, or take logger=offline"
            ) from error
        except Exception as error:
            if mode == "offline":
                raise LoggerUnavailable(f"W&B could not start ({_cause(error)})") from error
            first = error
        try:
            run = self._init(identity, project, "offline", timeout / 2)
        except Exception as error:
            told = f"{_cause(first)}; nor offline: {_cause(error)}"
            raise LoggerUnavailable(f"W&B could not start ({told})") from error
        part = Path(run.dir).parent
        warn(
            f"W&B could not start online ({_cause(first)}); the run goes on offline, "
            f"`wandb sync {part}` uploads it"
        )
        return run

    def _init(self, identity: RunIdentity, project: str, mode: str, patience: float) -> Run:
        """A run in one mode; one that cannot be leaves nothing."""
        self.patience = patience if mode == "online" else DISK_TIMEOUT_SECONDS
        try:
            return self.wandb.init(
                project=project,
                mode=mode,  # type: ignore[arg-type]
                dir=identity.folder,
                id=run_id(identity.folder),
                # a first part that says so would be appended to itself when it is synced again
                resume="allow" if self.resumed else None,
                name=shorten_name(identity.name),
                group=shorten_name(identity.group),
                job_type=identity.job_type,
                tags=[shorten_tag(tag) for tag in identity.tags if tag],
                config=identity.config,
                save_code=False,
                settings=self.wandb.Settings(
                    console="off",
                    silent=True,
                    init_timeout=self.patience,
                    finish_timeout=self.patience,
                    finish_timeout_raises=True,
                    git_root=str(ROOT),  # not that of the folder where the user stands
                ),
            )
        except BaseException as error:
            self._let_go(self.patience if isinstance(error, Exception) else 0)
            for part in find_parts(identity.folder):
                if part not in self.parts:
                    shutil.rmtree(part, ignore_errors=True)
            if not self.parts:
                shutil.rmtree(identity.folder / "wandb", ignore_errors=True)
            raise

    def _last(self, step: int) -> int:
        """The last step that W&B has, at the start of a run that goes on after ``step``.

        A server says it itself; offline it is read from the parts. Where these do not say it, as
        they went to a server that cannot be asked now or cannot be read, W&B is taken to have what
        the checkpoint has: there a few rows may then be missing or stand twice, but never a whole
        curve, and metrics.jsonl has them all.
        """
        if not self.run.offline:
            return self.run.starting_step - 1
        at_server = any(not is_offline(part) for part in self.parts)
        try:
            return max(last_row(self.parts), step if at_server else 0)
        except Exception as error:
            warn(f"W&B's rows cannot be read ({_cause(error)}); they are taken to end at {step}")
            return step

    def _define(self) -> None:
        """Say what is drawn against what, and which value of a curve its summary keeps."""
        self.run.define_metric("*", step_metric="step")
        self.run.define_metric(f"{self.benchmark}/step", hidden=True)
        for key, which in self.kept.items():
            self.run.define_metric(key, step_metric="step", summary=f"{which},last")

    def _catch_up(self, step: int) -> None:
        """Log what the file has up to ``step`` and W&B has not."""
        if step > self.last:
            for record in self._rows():
                if record["step"] <= step:
                    self.log_record(record)

    def _best(self) -> dict[str, Any]:
        """The summary of each curve over the whole run: W&B knows the last part of it alone."""
        rows = self._rows()
        found = {}
        for key, which in self.kept.items():
            values = [row[key] for row in rows if math.isfinite(row.get(key, math.nan))]
            if values:
                best = max(values) if which == "max" else min(values)
                found[key] = {which: best, "last": values[-1]}
        return found

    def _rows(self) -> list[Record]:
        """The records in the file; a run that has not begun has none."""
        return read_records(self.folder) if (self.folder / METRICS).exists() else []

    def _image(self, path: Path) -> Any:
        return self.wandb.Image(str(path))

    def _log(self, step: int, make: Callable[[], dict[str, Any]]) -> None:
        if step > self.last:
            with self._letting_go():
                self.run.log(make(), step=step)

    @contextlib.contextmanager
    def _letting_go(self) -> Iterator[None]:
        """Do something with the run, after whose failure there is nothing more to be done.

        Raises:
            LoggerUnavailable: if it fails.
        """
        try:
            yield
        except Exception as error:
            self._let_go(self.patience)
            part = "" if self.run.offline else f"--no-skip-online {Path(self.run.dir).parent}"
            rest = part and f"; `wandb sync {part}` uploads what it left"
            raise LoggerUnavailable(f"W&B failed ({_cause(error)}){rest}") from error
        except BaseException:  # who interrupts does not wait for a server
            self._let_go(GRACE_SECONDS)
            raise

    @contextlib.contextmanager
    def _watched(self, seconds: float) -> Iterator[None]:
        """Kill W&B's process if it does not answer for so long: this one would wait for ever."""
        process: Any = None
        with contextlib.suppress(AttributeError):  # there is no public way to it
            process = self.wandb.sdk.wandb_setup._singleton._connection._proc._process  # type: ignore[union-attr]

        def kill() -> None:
            process.kill()
            process.wait()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        if process is not None:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _let_go(self, seconds: float) -> None:
        """End W&B's process, so that the next run of this one starts it afresh."""
        with contextlib.suppress(Exception), self._watched(seconds):
            self.wandb.teardown(1)


def _cause(error: Exception) -> str:
    """What happened, without W&B's advice on its own settings."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(".")


def summary_kinds(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """What the summary keeps of each curve beside its last value: ``"min"`` or ``"max"``."""
    best = {"loss": "min"} | {
        name: "max" if metric.better == "higher" else "min" for name, metric in metrics.items()
    }
    validated = {f"{VALIDATION}{name}": which for name, which in best.items()}
    return {**best, **validated, "orthogonality_error": "max", "gradient_norm": "max"}
