"""One run from its configuration to its folder."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeInt, PositiveInt

from . import about, checkpoint, cli, folder, processes, records
from .assembly import make_state, save_model
from .cli import Call
from .confusion import Confusion
from .folder import Plan, Redo, Taken
from .generate import write_sample
from .journal import Journal
from .record import Record, validation_scores
from .refusal import build, check, refusing
from .setting import fingerprint
from .sinks import Identity, Progress, Sink
from .stopping import deferred
from .tasks.task import Scores
from .threads import choose_threads, vanishing_to_zero
from .train import TrainingDiverged, evaluate, fit

Threads = Annotated[int, Field(gt=0, le=1024)]
Name = Annotated[str, Field(pattern=r"^[\w-]+$")]


def main(name: str) -> None:
    """Run the benchmark of ``conf/<name>.yaml`` with the overrides of the command line."""
    with processes.joined():
        cli.main(name, run)


def run(cfg: DictConfig, call: Call) -> float:
    """Train one model on one task as configured, write its folder, return its best loss.

    A run that its folder holds already is not done again: what is finished is skipped, what was
    stopped goes on from its checkpoint. The loss is the validation's; nan for a run that another
    job of a sweep is at.

    Raises:
        ConfigError: if it cannot be run; nothing has been written then.
        FailedBefore: if it failed, and ``redo`` does not say to try again.
        TrainingDiverged: if the loss stopped being finite; everything has been written then.
    """
    redo: Redo = check(
        "redo", cfg.redo, Literal["none", "failed", "all"], "one of ['none', 'failed', 'all']"
    )
    team = refusing("device", lambda: processes.make_processes(cfg.device))
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:

        def enter() -> Plan:
            stack.enter_context(folder.locked(call.folder))
            return folder.plan(call.folder, config, redo)

        try:
            plan = team.agree(enter)
        except Taken as error:
            if not call.sweep:
                raise
            if team.leads:
                print(f"left alone: {error}", flush=True)
            return math.nan
        if plan == "skip" and os.environ.get("WANDB_SWEEP_ID"):
            plan = "resume"  # from its end: W&B's agent waits for the records
        if plan == "skip":
            if team.leads:
                where = folder.short(call.folder)
                print(f"finished already: {where} (redo=all trains it anew)", flush=True)
            return team.agree(lambda: folder.best_loss(call.folder))
        before = team.agree(lambda: folder.look(call.folder)) if plan == "resume" else None
        job = Job(cfg, config, call, team, before)
        job.prepare()
        return job.train()


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
        team: processes.Processes,
        before: dict[str, Any] | None = None,
    ) -> None:
        check("name", cfg.name, Name, "letters, digits, _ and -")
        self.config = config
        self.logger_node = cfg.logger
        self.call = call
        self.team, self.before = team, before
        seed: int = check("seed", cfg.seed, NonNegativeInt, "an integer >= 0")
        wanted: int | str = check(
            "threads", cfg.threads, Threads | Literal["auto"], "an integer from 1 to 1024 or auto"
        )
        budget: int | None = check(
            "budget", cfg.budget, PositiveInt | None, "an integer > 0 or null"
        )

        self.task, self.settings, self.state = make_state(cfg, seed, budget, team)
        self.model = self.state.model
        threads = self._threads(wanted)
        torch.set_num_threads(threads)
        self.name = f"{call.model} seed {seed}"
        description = about.begin(
            self.task, call.model, self.model, self.config, threads, team.size
        )
        # the first process alone writes
        self.journal = (
            Journal(call.folder, description, self.task, self.settings, self.model, call.sweep)
            if team.leads
            else None
        )

    def prepare(self) -> None:
        """Bring folder, state and sinks to where the run is to start from.

        Raises:
            ConfigError: if what the folder holds cannot be read, or a sink refuses.
        """
        saved = self.team.agree(self._saved)
        if saved is not None:
            refusing("checkpoint", lambda: self.state.load_state_dict(saved["state"]))
        self.team.agree(self._open)

    def _saved(self) -> dict[str, Any] | None:
        if self.before is None or self.journal is None:
            return None
        folder.check_data(self.call.folder, self.before, self.journal.about)
        return folder.load_checkpoint(self.call.folder)

    def _open(self) -> None:
        """Open the journal, as the first process; a logger that refuses leaves all as it was."""
        if self.journal is None:
            return
        attempt = None
        if self.before is None:
            attempt = folder.set_aside(self.call.folder)
        else:
            self.journal.resume(self.state.step)
        try:
            self._open_sinks(self.journal)
        except BaseException:
            if attempt is not None:
                folder.put_back(self.call.folder, attempt)
            raise

    def _open_sinks(self, journal: Journal) -> None:
        setting = ", ".join([self.call.model, *self.call.overrides])
        more = {**about.sizes(self.model), "versions": journal.about["versions"]}
        identity = Identity(
            folder=self.call.folder,
            name=f"{setting}, seed {self.config['seed']}",
            group=f"{setting} ({fingerprint(self.config)})",
            job_type=self.config["name"],
            tags=(self.task.title, self.call.model),
            config=self.config | more,
            metrics=self.task.metrics,
            step=self.state.step,
        )
        logger: Sink = build("logger", self.logger_node, identity)
        progress = Progress(
            self.settings.total,
            self.task.baseline,
            self.name if self.call.sweep else self.call.model,
            self.task.metrics,
            done=self.state.step,
            alone=not self.call.side_by_side,
        )
        journal.open(logger, progress)

    def train(self) -> float:
        """Train, test, write; a stopped or diverged run is written too.

        Returns the best validation loss.
        """
        journal = self.journal
        if journal is None:
            self._steps()
            self.team.agree(self._test)
            return self.state.best_loss
        try:
            journal.introduce(OmegaConf.to_yaml(self.config))
            self._steps()
            scores = self.team.agree(self._test)
            if self.task.vocabulary is not None:
                journal.sample(self.state.step, write_sample(self.call.folder))
            journal.finish(scores)
        except (KeyboardInterrupt, SystemExit):
            journal.stop("interrupted", "stopped from outside")
            raise
        except TrainingDiverged as error:
            journal.stop("failed", str(error))
            raise
        except BaseException as error:
            if processes.lost_another(error):
                journal.stop("interrupted", "another process of the run is gone")
                raise
            told = f"{type(error).__name__}: {error}"
            journal.stop("failed", told, traceback.format_exc())
            raise
        finally:
            journal.conclude()
        return self.state.best_loss

    def _steps(self) -> None:
        """All steps that are left; what is saved is never half a step."""
        whole = self.state.step
        with vanishing_to_zero(), deferred() as stop:
            try:
                for record in fit(self.state, self.task, self.settings):
                    self._take(record)
                    whole = self.state.step
                    if self.team.any(stop.asked):
                        self._save()
                        stop.leave()
            except TrainingDiverged:
                if whole == self.state.step:  # the model is as before the step
                    self._save()
                if self.team.any(stop.asked):
                    stop.leave()
                raise
        self._save()

    def _take(self, record: Record) -> None:
        """Write a record, and save what the settings and a new best ask for."""
        if self.journal is not None:
            self.journal.take(record)
            if validation_scores(record) and self.state.best_step == self.state.step:
                # before the checkpoint, which would else know of a best that is not there
                path = self.call.folder / records.BEST
                save_model(path, self.model, self.task, self.config, self.state.step)
        if self.state.step % self.settings.save_every == 0:
            self._save()

    def _save(self) -> None:
        state = self.state.state_dict()
        if self.team.leads:
            folder.save_checkpoint(self.call.folder, {"state": state, "config": self.config})

    def _test(self) -> Scores:
        """Scores of the best weights on the test set; with a confusion matrix if that says much."""
        model = copy.deepcopy(self.model)  # the checkpoint's is that of the last step
        model.load_state_dict(checkpoint.load(self.call.folder / records.BEST)["model"])
        confusion = None if self.task.classes is None else Confusion(self.task.classes)
        see: Callable[[Any, Any], None] | None = confusion.see if confusion else None
        scores = evaluate(model, self.task, self.settings, "test", see, self.team.alone())
        if confusion and self.journal:
            path = self.call.folder / records.CONFUSION
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
