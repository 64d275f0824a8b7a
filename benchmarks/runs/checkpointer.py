"""When a run saves its state and its best weights, and what stands in those files."""

from __future__ import annotations

import time

from benchmarks.records.files import BEST, CHECKPOINT
from benchmarks.system.atomic_files import relative

from . import checkpoints
from .build import BuiltRun
from .recorder import Recorder
from .saved_model import save_model


class Checkpointer:
    """Saves a run every so many steps or minutes; every process calls it, the first one writes."""

    def __init__(self, run: BuiltRun, recorder: Recorder | None) -> None:
        self.run, self.recorder = run, recorder
        self.saved_step, self.saved_at = run.state.step, time.monotonic()

    def save_if_due(self) -> None:
        """Save after a step for which the settings ask for it."""
        due = self.run.state.step % self.run.settings.checkpoint_every == 0
        if due or self.run.processes.any(self._is_late()):
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the state as it is."""
        state = self.run.state.state_dict()
        if self.recorder is not None:
            content = {
                "state": state,
                "config": self.run.config.plain,
                "versions": self.recorder.metadata["versions"],
            }
            keep = self.run.settings.keep_checkpoints
            checkpoints.save(self.run.call.folder, content, keep)
        self.saved_step, self.saved_at = self.run.state.step, time.monotonic()

    def save_best(self) -> None:
        """Write the best weights, if there are any yet."""
        run = self.run
        if self.recorder is not None and run.state.best is not None:
            save_model(run.call.folder / BEST, run.state, run.task, run.config.plain)

    def newest(self) -> str:
        """The newest checkpoint in words."""
        path = relative(self.run.call.folder / CHECKPOINT)
        return f"the last good checkpoint is {path}, of step {self.saved_step}"

    def _is_late(self) -> bool:
        minutes = self.run.settings.checkpoint_minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
