"""One run from its configuration to its folder: the only file that knows both Hydra and torch."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from . import checkpoint, records
from .models import SequenceModel, count_parameters, degrees_of_freedom, largest_hidden_size
from .plot import plot_run
from .refusal import ConfigError, build, check, one_line
from .sinks import JsonLines, Progress, Sink
from .tasks.task import Task
from .threads import choose_threads
from .train import Record, Settings, State, TrainingDiverged, evaluation_scores, fit, start, stream

CONF = Path(__file__).resolve().parent.parent / "conf"
PACKAGES = ("orthornn", "torch", "geoopt", "hydra-core", "wandb", "numpy")
DIVERGED, CONFIG_ERROR, INTERRUPTED = 1, 2, 130


def main(name: str) -> None:
    """Run the benchmark of ``conf/<name>.yaml`` with the overrides of the command line.

    Exits with 2 and one line for a configuration that cannot be run, with 1 for a run that
    diverged, with 130 after Ctrl-C. ``HYDRA_FULL_ERROR=1`` shows tracebacks instead.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's printer

    def refuse(error: Exception, code: int) -> NoReturn:
        if wants_traceback:
            raise error
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(code)

    started = False

    def job(cfg: DictConfig) -> dict[str, Any]:
        nonlocal started
        started = True
        try:
            return run(cfg)
        except ConfigError as error:  # nothing after it in a sweep could be trusted
            refuse(error, CONFIG_ERROR)

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        refuse(error, CONFIG_ERROR)
    except TrainingDiverged as error:
        refuse(error, DIVERGED)
    except (OSError, ValueError) as error:
        if started:
            raise
        refuse(error, CONFIG_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train one model on one task as configured, write its folder, return its summary.

    Raises:
        ConfigError: if it cannot be run; nothing has been written then.
        TrainingDiverged: if the loss stopped being finite; everything has been written then.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if (folder / records.ABOUT).exists():
        raise ConfigError(f"{folder} holds a run already; choose another hydra.run.dir")
    try:
        job = Job(cfg, folder)
        sinks = job.sinks()
    except ConfigError:
        _remove_empty(folder)
        raise
    return job.train(sinks)


class Job:
    """A run that has been checked: everything is built, nothing has been written.

    Raises:
        ConfigError: for any value that cannot be run.
    """

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self.config: Any = OmegaConf.to_container(cfg, resolve=True)
        self.logger_node = cfg.logger
        self.model_name: str = HydraConfig.get().runtime.choices["model"]
        self.folder = folder
        self.overrides = [
            override
            for override in HydraConfig.get().overrides.task
            if override.partition("=")[0] not in ("model", "seed", "threads", "logger")
        ]
        self.seed: int = check("seed", cfg.seed, NonNegativeInt, "an integer >= 0")
        wanted: int | str = check(
            "threads", cfg.threads, PositiveInt | Literal["auto"], "an integer > 0 or auto"
        )
        budget: int | None = check(
            "budget", cfg.budget, PositiveInt | None, "an integer > 0 or null"
        )

        self.task: Task = build("task", cfg.task)
        self.settings: Settings = build("train", cfg.train)
        torch.manual_seed(stream(self.seed, "initialisation").initial_seed())
        self.model = self._build_model(cfg.model, budget)
        optimizer = build("optimizer", cfg.optimizer, self.model)
        self.state: State = start(
            self.model, optimizer, self.settings, stream(self.seed, "training")
        )
        self.threads = self._threads(wanted)
        torch.set_num_threads(self.threads)

    def sinks(self) -> list[Sink]:
        """Where the records will go; W&B first, because it alone can refuse."""
        sinks: list[Sink] = []
        if self.logger_node.mode != "disabled":
            group = ", ".join([self.task.title, self.model_name, *self.overrides])
            name = ", ".join([self.model_name, *self.overrides, f"seed {self.seed}"])
            config = self.config | self._sizes()
            arguments = {"folder": self.folder, "name": name, "group": group, "config": config}
            sinks.append(build("logger", self.logger_node, **arguments))
        sinks.append(JsonLines(self.folder / records.METRICS))
        sinks.append(Progress(self.settings.steps, self.task.baseline, self.model_name))
        return sinks

    def train(self, sinks: list[Sink]) -> dict[str, Any]:
        """Train, write, and print the summary; an interrupted or diverged run is written too."""
        about = self._about()
        self._write_about(about)
        print(records.introduce(about), flush=True)
        (self.folder / records.CONFIG).write_text(OmegaConf.to_yaml(self.config), encoding="utf-8")
        history: list[Record] = []
        try:
            for record in fit(self.state, self.task, self.settings):
                history.append(record)
                for sink in sinks:
                    sink.write(record)
                if self.state.step % self.settings.save_every == 0:
                    self._save()
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
            self._save()
            summary = records.summarise(history, self.task.baseline, self.task.target_loss)
            scores = evaluation_scores(summary)
            about |= {"summary": summary, "solved": bool(scores) and self.task.is_solved(scores)}
            self._write_about(about)
            figure = self._draw(history, about)
            for sink in sinks:
                sink.close({**about["summary"], "status": about["status"]}, figure)
            print(records.describe(about, _short(self.folder)))
        return summary

    def _build_model(self, node: DictConfig, budget: int | None) -> SequenceModel:
        sizes = {"input_size": self.task.input_size, "output_size": self.task.output_size}
        size = node.hidden_size
        if size is None:
            if budget is None:
                raise ConfigError("one of budget and model.hidden_size must be given")

            def of_size(hidden_size: int) -> nn.Module:
                made: nn.Module = build("model", node, hidden_size=hidden_size, **sizes)
                return made

            size = _refusing(lambda: largest_hidden_size(of_size, budget))
        model: SequenceModel = build("model", node, hidden_size=size, **sizes)
        return model

    def _threads(self, wanted: int | str) -> int:
        if isinstance(wanted, int):
            return wanted
        hydra_config = HydraConfig.get()
        launcher = str(hydra_config.runtime.choices.get("hydra/launcher", "basic"))
        if hydra_config.mode == RunMode.MULTIRUN and launcher != "basic":
            return 1  # jobs run side by side: each keeps to one core
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
            "model": self.model_name,
            "seed": self.seed,
            **self._sizes(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in PACKAGES},
            "started": dt.datetime.now().astimezone().isoformat(),
            "status": "running",
            "error": None,
            "config": self.config,
        }

    def _save(self) -> None:
        content = {"state": self.state.state_dict(), "config": self.config}
        checkpoint.save(self.folder / records.CHECKPOINT, content)

    def _draw(self, history: list[Record], about: dict[str, Any]) -> Path | None:
        if not history:
            return None
        path = self.folder / records.FIGURE
        title = (
            f"{about['task']}\n{about['model']}, hidden size {about['hidden_size']}, "
            f"{about['parameters']:,} parameters, seed {about['seed']}"
        )
        plot_run(history, title, self.task.baseline, self.task.target_loss, path)
        return path

    def _write_about(self, about: dict[str, Any]) -> None:
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        checkpoint.write(self.folder / records.ABOUT, lambda file: file.write(text.encode()))


def _refusing(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _remove_empty(folder: Path) -> None:
    """Take back the folder that Hydra makes before a run is checked, and its empty parents."""
    below_here = [p for p in folder.parents if Path.cwd() in p.parents]
    for path in (folder, *below_here):
        if any(path.iterdir()):
            break
        path.rmdir()


def _short(folder: Path) -> Path:
    """The folder relative to where the user stands, if it is below."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
