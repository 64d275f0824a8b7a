"""One run from its configuration to its folder."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from benchmarks.config.call import Call
from benchmarks.config.errors import ConfigError, as_config_error, build
from benchmarks.diagnostics.confusion_matrix import ConfusionMatrix
from benchmarks.loggers import FailSafeLogger, ProgressBar
from benchmarks.models import SequenceModel
from benchmarks.records.files import BEST, CHECKPOINT, CONFUSION_FIGURE
from benchmarks.records.record import Record, validation_scores
from benchmarks.system.atomic_files import WriteError, relative
from benchmarks.system.signals import defer_signals
from benchmarks.system.threads import choose_threads, flush_denormals
from benchmarks.tasks.task import Scores
from benchmarks.training import distributed
from benchmarks.training.loop import NonFiniteBatch, TrainingDiverged, evaluate
from benchmarks.training.loop import train as fit

from . import checkpoints, folder, metadata
from .build import TaskSpec, make_state, make_task
from .folder import Plan, RunLocked
from .recorder import Recorder
from .sampling import generate_sample
from .saved_model import save_model


def run(cfg: DictConfig, call: Call) -> float:
    """Train one model on one task as configured, write its folder, return its best loss.

    A run that its folder holds already is not done again: what is finished is skipped, what was
    stopped goes on from its checkpoint. The loss is the validation's; nan for a run that another
    job of a sweep is at.

    Raises:
        ConfigError: if it cannot be run; nothing has been written then.
        FailedBefore: if it failed, and ``rerun`` does not say to try again.
        TrainingDiverged: if the loss stopped being finite; everything has been written then.
        WriteError: if a file could not be written; the run can go on from its last checkpoint.
    """
    team = as_config_error("device", lambda: distributed.make_processes(cfg.device))
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:

        def enter() -> Plan:
            stack.enter_context(folder.locked(call.folder))
            return folder.resume_plan(call.folder, config, cfg.rerun)

        try:
            plan = team.broadcast_result(enter)
        except RunLocked as error:
            if not call.sweep:
                raise
            if team.is_main:
                print(f"left alone: {error}", flush=True)
            return math.nan
        if plan == "skip" and os.environ.get("WANDB_SWEEP_ID"):
            plan = "resume"  # from its end: W&B's agent waits for the records
        if plan == "skip":
            team.broadcast_result(lambda: _check_text(cfg, call.folder))
            if team.is_main:
                told = f"finished already: {relative(call.folder)} (rerun=all trains it anew)"
                print(told, flush=True)
            return team.broadcast_result(lambda: folder.best_loss(call.folder))
        before = (
            team.broadcast_result(lambda: folder.read_metadata(call.folder))
            if plan == "resume"
            else None
        )
        job = Job(cfg, config, call, team, before)
        job.prepare()
        return job.train()


def _check_text(cfg: DictConfig, path: Path) -> None:
    """See that a finished run has read the user's own text as it stands now, if it still does.

    Raises:
        ConfigError: if the text has changed.
    """
    if OmegaConf.select(cfg, "data.path") is None:
        return
    here = {}
    with contextlib.suppress(ConfigError):  # the text may have gone, the run is there
        here = {"task": make_task(cfg).title}
    folder.check_data(path, folder.read_metadata(path) or {}, here)


class Job:
    """A run that has been checked: everything is built, nothing has been written.

    Args:
        cfg: the configuration.
        config: the same, resolved and plain.
        call: what the command line says beside it.
        team: the processes that train together.
        before: what ``run.json`` says of a run that is to go on; None for a new one.

    Raises:
        ConfigError: for any value that cannot be run.
    """

    def __init__(
        self,
        cfg: DictConfig,
        config: dict[str, Any],
        call: Call,
        team: distributed.Processes,
        before: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.logger_node = cfg.logger
        self.call = call
        self.team, self.before = team, before
        self.task, self.settings, self.state = make_state(cfg, cfg.seed, cfg.parameter_budget, team)
        self.model = self.state.model
        threads = self._threads(cfg.threads)
        torch.set_num_threads(threads)
        self.name = f"{call.model} seed {cfg.seed}"
        self.saved_step, self.saved_at = 0, time.monotonic()
        description = metadata.initial_metadata(
            self.task, call.model, self.model, self.config, threads, team.size
        )
        # the first process alone writes
        self.journal = (
            Recorder(call.folder, description, self.task, self.settings, self.model, call.sweep)
            if team.is_main
            else None
        )

    def prepare(self) -> None:
        """Bring folder, state and loggers to where the run is to start from.

        Raises:
            ConfigError: if what the folder holds cannot be read, or a logger refuses.
        """
        saved = self.team.broadcast_result(self._saved)
        if saved is not None:
            as_config_error("checkpoint", lambda: self.state.load_state_dict(saved["state"]))
            self.saved_step = self.state.step
        self.team.broadcast_result(self._open)

    def _saved(self) -> dict[str, Any] | None:
        if self.before is None or self.journal is None:
            return None
        folder.check_data(self.call.folder, self.before, self.journal.about)
        saved = checkpoints.load(self.call.folder, self.config)
        if saved is not None:
            checkpoints.restore_id(self.call.folder, saved)
        return saved

    def _open(self) -> None:
        """Open the journal, as the first process; a logger that refuses leaves all as it was."""
        if self.journal is None:
            return
        attempt = None
        if self.before is None:
            attempt = folder.archive(self.call.folder)
        else:
            self.journal.resume(self.state.step)
        try:
            self._open_loggers(self.journal)
        except BaseException:
            if attempt is not None:
                folder.restore(self.call.folder, attempt)
            raise

    def _open_loggers(self, journal: Recorder) -> None:
        identity = metadata.run_identity(
            journal.about, self.task, self.call.folder, self.call.overrides, self.state.step
        )
        logger = FailSafeLogger("logger", lambda: build("logger", self.logger_node, identity))
        progress = ProgressBar(
            self.settings.total,
            self.task.baseline,
            self.name if self.call.sweep else self.call.model,
            self.task.metrics,
            done=self.state.step,
            alone=not self.call.side_by_side,
        )
        journal.open(logger, FailSafeLogger("progress", lambda: progress))

    def train(self) -> float:
        """Train, test, write; a stopped or diverged run is written too.

        Returns the best validation loss.
        """
        journal = self.journal
        if journal is None:
            self._steps()
            self.team.broadcast_result(lambda: self._test(self._best()))
            return self.state.best_loss
        try:
            journal.introduce(OmegaConf.to_yaml(self.config))
            self._save_best()  # also of a run that goes on, whose file may be damaged
            self._steps()
            best = self._best()
            scores = self.team.broadcast_result(lambda: self._test(best))
            if self.task.vocabulary is not None:
                journal.sample(self.state.step, generate_sample(best, TaskSpec.of(self.task)))
            journal.finish(scores)
        except BaseException as error:
            journal.stop(error)
            with contextlib.suppress(WriteError):  # the first error is told
                journal.conclude()
            raise
        journal.conclude()
        return self.state.best_loss

    def _steps(self) -> None:
        """All steps that are left; what is saved is never half a step."""
        whole = self.state.step
        with flush_denormals(), defer_signals() as stop:
            try:
                for record in fit(self.state, self.task, self.settings):
                    self._take(record)
                    whole = self.state.step
                    if self.team.any(stop.asked):
                        self._save()
                        stop.exit()
            except TrainingDiverged as error:
                if whole == self.state.step:  # the model is as before the step
                    self._save()
                if self.team.any(stop.asked):
                    stop.exit()
                raise type(error)(f"{error}{self._where(error)}") from error
        self._save()

    def _where(self, error: TrainingDiverged) -> str:
        """What helps to find out why a run diverged."""
        newest = relative(self.call.folder / CHECKPOINT)
        told = f"; the last good checkpoint is {newest}, of step {self.saved_step}"
        if isinstance(error, NonFiniteBatch):
            seed = self.config["seed"]
            told = f", on the batch that it draws from there with seed {seed}{told}"
            return f"{told}; train.max_nonfinite_batches=N passes over N such batches"
        return told

    def _take(self, record: Record) -> None:
        """Write a record, and save what the settings and a new best ask for."""
        if self.journal is not None:
            self.journal.take(record)
            if validation_scores(record) and self.state.best_step == self.state.step:
                self._save_best()
        if self.state.step % self.settings.checkpoint_every == 0 or self.team.any(self._is_late()):
            self._save()

    def _is_late(self) -> bool:
        most = self.settings.checkpoint_minutes
        return most is not None and time.monotonic() - self.saved_at >= 60 * most

    def _save(self) -> None:
        state = self.state.state_dict()
        if self.journal is not None:
            versions = self.journal.about["versions"]
            content = {"state": state, "config": self.config, "versions": versions}
            checkpoints.save(self.call.folder, content, self.settings.keep_checkpoints)
        self.saved_step, self.saved_at = self.state.step, time.monotonic()

    def _save_best(self) -> None:
        if self.state.best is not None:
            save_model(self.call.folder / BEST, self.state, self.task, self.config)

    def _best(self) -> SequenceModel:
        """The model with the best weights, beside that of the last step."""
        model = copy.deepcopy(self.model)
        if self.state.best is not None:
            model.load_state_dict(self.state.best)
        return model.eval()

    def _test(self, model: SequenceModel) -> Scores:
        """Scores of a model on the test set; with a confusion matrix if that says much."""
        confusion = None if self.task.classes is None else ConfusionMatrix(self.task.classes)
        see: Callable[[Any, Any], None] | None = confusion.see if confusion else None
        scores = evaluate(model, self.task, self.settings, "test", see, self.team.single())
        if confusion and self.journal:
            path = self.call.folder / CONFUSION_FIGURE
            confusion.plot(self.task.title, path)
            self.journal.figures["confusion"] = path
        return scores

    def _threads(self, wanted: int | str) -> int:
        if isinstance(wanted, int):
            return wanted
        if self.before is not None:
            return int(self.before["threads"])  # another count rounds otherwise
        if self.call.side_by_side or self.team.size > 1:
            return 1  # each job keeps to one core
        return choose_threads(self.settings.batch_size, self.model.hidden_size)
