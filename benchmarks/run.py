"""One run from its configuration to its folder."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeInt, PositiveInt

from . import checkpoint, cli, records
from .assembly import load_model, make_state, save_model
from .cli import Call
from .code_version import code_version
from .confusion import Confusion
from .generate import Request, write
from .looks import Looks
from .models import SequenceModel, count_parameters, degrees_of_freedom
from .plot import plot_run
from .refusal import ConfigError, build, check
from .setting import fingerprint
from .sinks import Identity, JsonLines, Progress, Sink
from .tasks.task import Scores
from .threads import choose_threads, vanishing_to_zero
from .train import Record, TrainingDiverged, evaluate, fit, validation_scores

Threads = Annotated[int, Field(gt=0, le=1024)]
PACKAGES = ("orthornn", "torch", "geoopt", "hydra-core", "wandb", "numpy")


def main(name: str) -> None:
    """Run the benchmark of ``conf/<name>.yaml`` with the overrides of the command line."""
    cli.main(name, run)


def run(cfg: DictConfig, call: Call) -> dict[str, Any]:
    """Train one model on one task as configured, write its folder, return its summary.

    Raises:
        ConfigError: if it cannot be run; nothing has been written then.
        TrainingDiverged: if the loss stopped being finite; everything has been written then.
    """
    if (call.folder / records.ABOUT).exists():
        raise ConfigError(f"{call.folder} holds a run already; choose another hydra.run.dir")
    job = Job(cfg, call)
    return job.train(job.sinks())


class Job:
    """A run that has been checked: everything is built, nothing has been written.

    Raises:
        ConfigError: for any value that cannot be run.
    """

    def __init__(self, cfg: DictConfig, call: Call) -> None:
        self.config: Any = OmegaConf.to_container(cfg, resolve=True)
        self.logger_node = cfg.logger
        self.call = call
        self.seed: int = check("seed", cfg.seed, NonNegativeInt, "an integer >= 0")
        wanted: int | str = check(
            "threads", cfg.threads, Threads | Literal["auto"], "an integer from 1 to 1024 or auto"
        )
        budget: int | None = check(
            "budget", cfg.budget, PositiveInt | None, "an integer > 0 or null"
        )

        self.task, self.settings, self.state = make_state(cfg, self.seed, budget)
        self.model: SequenceModel = self.state.model
        self.threads = self._threads(wanted)
        torch.set_num_threads(self.threads)

    def sinks(self) -> list[Sink]:
        """Where the records will go; the logger first, because it alone can refuse."""
        sinks: list[Sink] = []
        model, overrides = self.call.model, self.call.overrides
        identity = Identity(
            folder=self.call.folder,
            name=", ".join([model, *overrides, f"seed {self.seed}"]),
            group=f"{', '.join([model, *overrides])} ({fingerprint(self.config)})",
            job_type=self.config["name"],
            tags=(self.task.title, model),
            config=self.config | self._sizes() | {"versions": versions()},
            metrics=self.task.metrics,
        )
        sinks.append(build("logger", self.logger_node, identity))
        try:
            sinks.append(JsonLines(self.call.folder / records.METRICS))
        except OSError:
            _close(sinks, {"status": "failed"}, {})
            raise
        sinks.append(Progress(self.settings.total, self.task.baseline, model, self.task.metrics))
        return sinks

    def train(self, sinks: list[Sink]) -> dict[str, Any]:
        """Train, write, and print the summary; an interrupted or diverged run is written too."""
        about = self._about()
        figures: dict[str, Path] = {}
        try:
            self._train(about, figures, sinks)
        finally:
            ending = {**about["summary"], **records.prefixed(about["test"])}
            _close(sinks, {**ending, "status": about["status"]}, figures)
            print(records.describe(about, _short(self.call.folder)))
        return dict(about["summary"])

    def _train(
        self, about: dict[str, Any], figures: dict[str, Path], sinks: Sequence[Sink]
    ) -> None:
        """Train and write; ``about`` and ``figures`` are filled on the way."""
        folder = self.call.folder
        history: list[Record] = []
        looks = Looks(self.model, self.task, self.settings, folder, sinks)
        try:
            self._write_about(about)
            print(records.introduce(about), flush=True)
            (folder / records.CONFIG).write_text(OmegaConf.to_yaml(self.config), encoding="utf-8")
            looks.take(0)
            with vanishing_to_zero():
                for record in fit(self.state, self.task, self.settings):
                    history.append(record)
                    for sink in sinks:
                        sink.write(record)
                    looks.take(self.state.step)
                    self._keep(record)
            self._save()
            about["test"] = self._test(figures)
            self._sample(sinks)
            about["status"] = "finished"
        except TrainingDiverged as error:
            about |= {"status": "failed", "error": str(error)}
            raise
        except KeyboardInterrupt:
            about |= {"status": "interrupted", "error": "stopped by the user"}
            raise
        except BaseException as error:
            about |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            if about["status"] != "finished":
                self._save()
            summary = records.summarise(history, self.task.baseline, self.task.target_loss)
            scores = validation_scores(summary)
            about |= {"summary": summary, "solved": bool(scores) and self.task.is_solved(scores)}
            self._write_about(about)
            if history:
                figures["figure"] = folder / records.FIGURE
                plot_run(history, about, figures["figure"])
            figures |= looks.plot(records.title(about))

    def _keep(self, record: Record) -> None:
        """Save what the settings and a new best ask for."""
        if self.state.step % self.settings.save_every == 0:
            self._save()
        if validation_scores(record) and self.state.best_step == self.state.step:
            path = self.call.folder / records.BEST
            save_model(path, self.model, self.task, self.config, self.state.step)

    def _test(self, figures: dict[str, Path]) -> Scores:
        """Scores of the best weights on the test set; with a confusion matrix if that says much."""
        model = copy.deepcopy(self.model)  # the checkpoint's is that of the last step
        model.load_state_dict(checkpoint.load(self.call.folder / records.BEST)["model"])
        confusion = None if self.task.classes is None else Confusion(self.task.classes)
        see: Callable[[Any, Any], None] | None = confusion.see if confusion else None
        scores = evaluate(model, self.task, self.settings, "test", see)
        if confusion:
            figures["confusion"] = self.call.folder / records.CONFUSION
            confusion.plot(self.task.title, figures["confusion"])
        return scores

    def _sample(self, sinks: Sequence[Sink]) -> None:
        """Let the best weights of a model of text write; to a file and to the sinks."""
        if self.task.vocabulary is None:
            return
        model, interface = load_model(self.call.folder / records.BEST)
        text = "".join(write(model, interface, Request(run=self.call.folder)))
        (self.call.folder / records.SAMPLE).write_text(text, encoding="utf-8")
        for sink in sinks:
            sink.sample(self.state.step, text)

    def _threads(self, wanted: int | str) -> int:
        if isinstance(wanted, int):
            return wanted
        if self.call.side_by_side:
            return 1  # each job keeps to one core
        return choose_threads(self.settings.batch_size, self.model.hidden_size)

    def _sizes(self) -> dict[str, int]:
        return {
            "hidden_size": self.model.hidden_size,
            "parameters": count_parameters(self.model),
            "degrees_of_freedom": degrees_of_freedom(self.model),
            "threads": self.threads,
        }

    def _about(self) -> dict[str, Any]:
        return {
            "task": self.task.title,
            "baseline": self.task.baseline,
            "target_loss": self.task.target_loss,
            "metrics": {
                name: {"show": metric.show, "better": metric.better}
                for name, metric in self.task.metrics.items()
            },
            "model": self.call.model,
            "seed": self.seed,
            **self._sizes(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": versions(),
            "started": dt.datetime.now().astimezone().isoformat(),
            "status": "running",
            "error": None,
            "test": None,
            "summary": records.summarise([], self.task.baseline, self.task.target_loss),
            "solved": False,
            "config": self.config,
        }

    def _save(self) -> None:
        content = {"state": self.state.state_dict(), "config": self.config}
        checkpoint.save(self.call.folder / records.CHECKPOINT, content)

    def _write_about(self, about: dict[str, Any]) -> None:
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        checkpoint.write(self.call.folder / records.ABOUT, lambda file: file.write(text.encode()))


def versions() -> dict[str, str]:
    """What has run: Python, the packages, and the commit of this project."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "code": code_version()}


def _close(sinks: Sequence[Sink], summary: dict[str, Any], figures: dict[str, Path]) -> None:
    """Close all sinks, also where one of them fails to."""
    with contextlib.ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close, summary, figures)


def _short(folder: Path) -> Path:
    """The folder relative to where the user stands, if it is below."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
