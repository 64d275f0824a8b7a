"""One run from its configuration to its folder."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks.config.call import Call
from benchmarks.config.errors import ConfigError, as_config_error
from benchmarks.models import SequenceModel
from benchmarks.records.record import Record, validation_scores
from benchmarks.records.text import run_title
from benchmarks.system.atomic_files import WriteError, relative
from benchmarks.system.signals import defer_signals
from benchmarks.system.threads import flush_denormals
from benchmarks.training import distributed
from benchmarks.training.loop import NonFiniteBatch, TrainingDiverged
from benchmarks.training.loop import train as fit

from . import folder
from .build import BuiltRun, build_run, make_task
from .checkpointer import Checkpointer
from .config import RunConfig
from .examination import examine
from .folder import Plan, RunLocked
from .recorder import Recorder
from .resume import open_recorder


def run(config: RunConfig, call: Call) -> float:
    """Train one model on one task as configured, write its folder, return its best loss.

    The order of things, in which nothing is written before all that can be refused was checked:

    1. the folder is locked, and its ``run.json`` decides whether the run begins, goes on or is
       skipped: what is finished is not done again (:func:`benchmarks.runs.folder.resume_plan`);
    2. task, model and optimizer are built (:func:`benchmarks.runs.build.build_run`);
    3. an earlier attempt is set aside or its checkpoint loaded, and the loggers are opened
       (:func:`benchmarks.runs.resume.open_recorder`);
    4. the steps that are left are trained, the best weights tested, and the summary and figures
       written (:class:`TrainingRun`).

    The loss is the validation's; nan for a run that another job of a sweep is at.

    Raises:
        ConfigError: if it cannot be run; nothing has been written then.
        FailedBefore: if it failed, and ``rerun`` does not say to try again.
        TrainingDiverged: if the loss stopped being finite; everything has been written then.
        WriteError: if a file could not be written; the run can go on from its last checkpoint.
    """
    team = as_config_error("device", lambda: distributed.make_processes(config.device))
    with contextlib.ExitStack() as stack:

        def enter() -> Plan:
            stack.enter_context(folder.locked(call.folder))
            return folder.resume_plan(call.folder, config.plain, config.rerun)

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
            team.broadcast_result(lambda: _check_text(config, call.folder))
            if team.is_main:
                told = f"finished already: {relative(call.folder)} (rerun=all trains it anew)"
                print(told, flush=True)
            return team.broadcast_result(lambda: folder.best_loss(call.folder))
        before = (
            team.broadcast_result(lambda: folder.read_metadata(call.folder))
            if plan == "resume"
            else None
        )
        built = build_run(config, call, team, before)
        return TrainingRun(built, open_recorder(built)).train()


def _check_text(config: RunConfig, path: Path) -> None:
    """See that a finished run has read the user's own text as it stands now, if it still does.

    Raises:
        ConfigError: if the text has changed.
    """
    if config.data is None or config.data.get("path") is None:
        return
    here = {}
    with contextlib.suppress(ConfigError):  # the text may have gone, the run is there
        here = {"task": make_task(config).title}
    folder.check_data(path, folder.read_metadata(path) or {}, here)


class TrainingRun:
    """Trains a run from where it stands to its end, and writes what becomes of it.

    Args:
        run: everything that was built, its state being that of the last checkpoint, if any.
        recorder: of the first process; None on the others.
    """

    def __init__(self, run: BuiltRun, recorder: Recorder | None) -> None:
        self.run, self.recorder = run, recorder
        self.state, self.team = run.state, run.processes
        self.checkpointer = Checkpointer(run, recorder)

    def train(self) -> float:
        """Train, test, write; a stopped or diverged run is written too.

        Returns the best validation loss.
        """
        if self.recorder is None:
            self._train_steps()
            self.team.broadcast_result(dict)  # the scores, which the first process measures
            return self.state.best_loss
        try:
            self._train_and_test(self.recorder)
        except BaseException as error:
            self.recorder.set_stopped(error)
            with contextlib.suppress(WriteError):  # the first error is told
                self.recorder.finish()
            raise
        self.recorder.finish()
        return self.state.best_loss

    def _train_and_test(self, recorder: Recorder) -> None:
        recorder.print_header(OmegaConf.to_yaml(self.run.config.plain))
        self.checkpointer.save_best()  # also of a run that goes on, whose file may be damaged
        self._train_steps()
        best, run = self._best_model(), self.run
        looked_at = run.task, run.settings, run.call.folder, run_title(recorder.metadata)
        findings = self.team.broadcast_result(lambda: examine(best, *looked_at, self.team.single()))
        recorder.set_finished(self.state.step, findings)

    def _train_steps(self) -> None:
        """All steps that are left; what is saved is never half a step."""
        last_step = self.state.step
        with flush_denormals(), defer_signals() as stop:
            try:
                for record in fit(self.state, self.run.task, self.run.settings):
                    self._log(record)
                    last_step = self.state.step
                    if self.team.any(stop.asked):
                        self.checkpointer.save()
                        stop.exit()
            except TrainingDiverged as error:
                if last_step == self.state.step:  # the model is as before the step
                    self.checkpointer.save()
                if self.team.any(stop.asked):
                    stop.exit()
                raise type(error)(f"{error}{self._circumstances(error)}") from error
        self.checkpointer.save()

    def _log(self, record: Record) -> None:
        """Write a record, and save what the settings and a new best ask for."""
        if self.recorder is not None:
            self.recorder.log(record)
            if validation_scores(record) and self.state.best_step == self.state.step:
                self.checkpointer.save_best()
        self.checkpointer.save_if_due()

    def _circumstances(self, error: TrainingDiverged) -> str:
        """What helps to find out why a run diverged."""
        newest = self.checkpointer.newest()
        if not isinstance(error, NonFiniteBatch):
            return f"; {newest}"
        seed = self.run.config.seed
        return (
            f", on the batch that it draws from there with seed {seed}; {newest}; "
            "train.max_nonfinite_batches=N passes over N such batches"
        )

    def _best_model(self) -> SequenceModel:
        """The model with the best weights, beside that of the last step."""
        model = copy.deepcopy(self.state.model)
        if self.state.best is not None:
            model.load_state_dict(self.state.best)
        return model.eval()
