"""A run of W&B that ends in time and in one line, whatever becomes of W&B."""

from __future__ import annotations

import contextlib
import html
import logging
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.records.record import VALIDATION
from benchmarks.system.environment import ROOT

from .fail_safe import LoggerUnavailable
from .wandb_files import offline_files, run_id
from .wandb_rows import Row, best_and_last, logged_rows, records_so_far

GRACE_SECONDS = 3  # for W&B to keep its own promises
DISK_TIMEOUT_SECONDS = 60  # for what waits for the disk alone


class WandbRun:
    """A run at a W&B server, or offline in a file that holds all of it.

    W&B's own reports of errors and use are off unless ``WANDB_ERROR_REPORTING`` asks for them: they
    are sent in offline mode too, and make a process wait for a server that does not answer. Its
    messages and its question for a key are off unless ``WANDB_SILENT=false``. After an error W&B is
    let go of, so that the next run of this process starts it afresh.

    Args:
        folder: of the run.
        options: as of :func:`benchmarks.loggers.wandb_files.run_options`.
        kinds: as of :func:`benchmarks.loggers.wandb_rows.summary_kinds`.
        mode: ``"online"`` or ``"offline"``; online the run goes on that has the folder's id.
        timeout: seconds to wait for the server in all, half at the start and half at the end.

    Attributes:
        last_step: the last step that the server has, 0 without any.

    Raises:
        ValueError: if W&B refuses, for lack of a key, say.
        LoggerUnavailable: if it cannot start.
    """

    def __init__(
        self,
        folder: Path,
        options: dict[str, Any],
        kinds: Mapping[str, str],
        mode: str,
        timeout: float,
    ) -> None:
        check_options(options["project"], mode, timeout)
        import wandb

        self.wandb, self.folder, self.kinds = wandb, folder, kinds
        self.benchmark: str = options["job_type"]
        self.earlier = offline_files(folder)
        self.patience = timeout / 2 if mode == "online" else DISK_TIMEOUT_SECONDS
        self.run = self._init(options, mode)
        with self._giving_up():
            self.last_step = max(0, self.run.starting_step - 1)
            self.run.define_metric("*", step_metric="step")
            self.run.define_metric(f"{self.benchmark}/step", hidden=True)
            for key, which in kinds.items():
                self.run.define_metric(key, step_metric="step", summary=f"{which},last")

    def log(self, step: int, row: Row) -> None:
        """Log a row, or more of one, unless the server has that step."""
        if step > self.last_step:
            with self._giving_up():
                self.run.log(row, step=step)

    def log_files(self) -> None:
        """Log all that the files of the run hold."""
        for step, row in logged_rows(self.folder, self.benchmark, self.histogram, self.page):
            self.log(step, row)

    def finish(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Add the summary and the figures, and end the run; it takes the place of earlier files."""
        # the last and the best of what is logged at every step are in the summary already
        added = {k: v for k, v in summary.items() if not k.startswith(VALIDATION)}
        with self._giving_up():
            # this ends the last row, which would else come after the summary and write over it
            self.run.log({name: self.image(path) for name, path in figures.items()})
            self.run.summary.update(added | best_and_last(records_so_far(self.folder), self.kinds))
            with self._watched(self.patience + GRACE_SECONDS):
                self.run.finish(exit_code=0 if summary["status"] == "finished" else 1)
            for path in self.earlier:
                shutil.rmtree(path, ignore_errors=True)

    def histogram(self, values: list[float]) -> Any:
        """Numbers as W&B draws them."""
        return self.wandb.Histogram(values)

    def image(self, path: Path) -> Any:
        """A drawing."""
        return self.wandb.Image(str(path))

    def page(self, text: str) -> Any:
        """A text as it stands."""
        return self.wandb.Html(f"<pre>{html.escape(text)}</pre>")

    def _init(self, options: dict[str, Any], mode: str) -> Any:
        """W&B's own run; one that cannot be leaves nothing."""
        errors = self.wandb.errors
        place = self.folder / "wandb"
        first, before = not place.exists(), set(place.glob("*run-*"))
        settings = self.wandb.Settings(
            console="off",
            silent=True,
            init_timeout=self.patience,
            finish_timeout=self.patience,
            finish_timeout_raises=True,
            git_root=str(ROOT),  # not that of the folder where the user stands
        )
        try:
            return self.wandb.init(
                **options,
                mode=mode,  # type: ignore[arg-type]
                dir=self.folder,
                id=run_id(self.folder),
                # an offline file that says so would be appended to itself when it is synced again
                resume="allow" if mode == "online" else None,
                save_code=False,
                settings=settings,
            )
        except BaseException as error:
            self._let_go(self.patience if isinstance(error, Exception) else 0)
            for path in (place,) if first else set(place.glob("*run-*")) - before:
                shutil.rmtree(path, ignore_errors=True)
            if isinstance(error, (errors.UsageError, errors.AuthenticationError, ValueError)):
                advice = "log in with `wandb login`, or take logger=offline"
                raise ValueError(f"W&B could not start ({_squeeze(error)}); {advice}") from error
            if isinstance(error, Exception):
                raise LoggerUnavailable(f"W&B could not start ({_cause(error)})") from error
            raise

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Do something with the run, after whose failure there is nothing more to be done.

        Raises:
            LoggerUnavailable: if it fails.
        """
        try:
            yield
        except Exception as error:
            self._let_go(self.patience)
            raise LoggerUnavailable(
                f"W&B failed ({_cause(error)}); {upload_command(self.folder)}"
            ) from error
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
        # W&B leaves its log open where a start was interrupted; the folder may be gone by now
        log = logging.getLogger("wandb")
        for handler in [h for h in log.handlers if isinstance(h, logging.FileHandler)]:
            log.removeHandler(handler)
            handler.close()


def check_options(project: str, mode: str, timeout: float) -> None:
    """Refuse what no server would mend, before W&B is started.

    Raises:
        ValueError: for a project, a mode or a number of seconds that W&B does not take.
    """
    if not 0 < timeout < math.inf:  # to W&B, 0 is for ever
        raise ValueError(f"timeout must be a number of seconds > 0, got {timeout}")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    try:
        wandb.Settings(project=project, mode=mode)
    except (wandb.errors.UsageError, ValueError) as error:
        raise ValueError(f"W&B refuses its options ({_squeeze(error)})") from error


def upload_command(folder: Path) -> str:
    """The command that brings to W&B what it lacks of a run."""
    return f"`python -m benchmarks.upload {folder}` uploads it"


def _cause(error: Exception) -> str:
    """What happened, without W&B's advice on its own settings."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(".")


def _squeeze(error: BaseException) -> str:
    return " ".join(str(error).split())
