"""The command line of a benchmark: Hydra composes the configuration, refusals are one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.config.call import Call
from benchmarks.config.compose import CONF, _folder_name, _inside
from benchmarks.config.errors import CONFIG_ERROR, FAILED, INTERRUPTED, ConfigError, format_error
from benchmarks.config.fingerprint import NO_MATTER, renamed
from benchmarks.config.plugins import with_values
from benchmarks.runs.config import RunConfig
from benchmarks.runs.folder import FailedBefore
from benchmarks.system import signals
from benchmarks.system.atomic_files import WriteError
from benchmarks.training import distributed

from . import sweep

OUT_OF_MEMORY = (  # in the RuntimeErrors of torch, whose kind says nothing
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Storage size calculation overflowed",
)
# what is no part of a setting's name; the model and the seed have places of their own in it
NOT_A_SETTING = ("model", *(key for key in NO_MATTER if key != "orthogonal"))


class JobFailed(Exception):
    """A job of the command line ended with an error that has been told in one line.

    Args:
        message: the line.
        code: the exit code that says so.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)  # both, for a worker's error comes home pickled
        self.message, self.code = message, code


def main(name: str, job: Callable[[RunConfig, Call], Any]) -> None:
    """Do ``job`` on the configuration ``conf/<name>.yaml`` with the command line's overrides.

    The order of things:

    1. keys that have another name today are refused, before Hydra sees them;
    2. Hydra composes the configuration, once a job: a sweep has many, a launcher's jobs run in
       processes of their own, which import this file;
    3. :class:`benchmarks.runs.config.RunConfig` validates it as a whole;
    4. ``job`` runs; its errors come back here instead of to Hydra's printer, and become one line
       and an exit code.

    Exits with 2 and one line for a configuration that cannot be run, with 1 for a run that diverged
    or did not fit the memory, with 130 after Ctrl-C. A sweep goes on with its other jobs and exits
    with the code of its first failure. ``HYDRA_FULL_ERROR=1`` shows tracebacks.
    """
    for argument in sys.argv[1:]:
        refuse_former(argument)
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's printer
    started = sweeps = False
    sys.argv = [sys.argv[0], *with_values(sys.argv[1:])]

    def checked(cfg: DictConfig) -> Any:
        nonlocal started, sweeps
        call = called()
        started, sweeps = True, call.sweep
        try:
            return job(RunConfig.of(cfg), call)
        except Exception as error:
            code = exit_code(error)
            if code == CONFIG_ERROR and distributed.is_main():
                remove_empty(call.folder)
            if not call.sweep and (code is None or wants_traceback):
                raise
            if call.sweep and (code is None or wants_traceback):
                traceback.print_exc()
            failure = JobFailed(format_error(error), code or FAILED)
            if not call.sweep:
                refuse(failure.message, failure.code)  # Hydra would say more than one line
            if distributed.is_main():
                print(f"error: {failure.message}", file=sys.stderr, flush=True)
            if distributed.world_size() > 1 and not is_shared(error):
                sys.exit(FAILED)  # the other processes wait within this job
            raise failure from None

    under_hydra = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)
    try:
        with signals.termination_exits():
            under_hydra(checked)()
    except JobFailed as failure:
        refuse(failure.message, failure.code)
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        refuse(format_error(error), CONFIG_ERROR)
    except (OSError, ValueError) as error:  # of Hydra, before it calls the job, or of a sweeper
        if wants_traceback or (started and not sweeps):
            raise
        refuse(format_error(error), FAILED if started else CONFIG_ERROR)
    except (AssertionError, AttributeError, LookupError, RecursionError, TypeError) as error:
        if wants_traceback or started:
            raise
        # of Hydra's parser, which some overrides surprise
        told = format_error(error) or type(error).__name__
        refuse(f"the overrides {sys.argv[1:]} cannot be read ({told})", CONFIG_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def refuse(message: str, code: int) -> NoReturn:
    """Leave with one line; of several processes of one run, the first speaks for all.

    What could not be run leaves no folder, nor does a sweep of nothing else.
    """
    if distributed.is_main():
        for folder in sweep.unused() if code == CONFIG_ERROR else ():
            remove_empty(folder)
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def refuse_former(argument: str) -> None:
    """Leave if an argument sets a key by a name that it had in earlier versions."""
    key = argument.partition("=")[0].lstrip("+~").partition("@")[0]
    now = renamed(key)
    if now:
        refuse(now, CONFIG_ERROR)


def exit_code(error: Exception) -> int | None:
    """The exit code for an error that is told in one line; None for what nobody foresaw."""
    if isinstance(error, (ConfigError, OmegaConfBaseException)):
        return CONFIG_ERROR
    foreseen = is_shared(error) or isinstance(error, WriteError) or out_of_memory(error)
    return FAILED if foreseen else None


def is_shared(error: Exception) -> bool:
    """Whether all processes of a run meet an error together."""
    kinds = (ConfigError, OmegaConfBaseException, ArithmeticError, FailedBefore)
    return isinstance(error, kinds)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is of an allocation, which torch raises as a RuntimeError."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def called() -> Call:
    """The call that Hydra is running."""
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    launcher = str(choices.get("hydra/launcher", "basic"))
    several = hydra_config.mode == RunMode.MULTIRUN
    return Call(
        folder=Path(hydra_config.runtime.output_dir),
        model=str(choices.get("model", "")),
        overrides=tuple(
            override
            for override in hydra_config.overrides.task
            if override.partition("=")[0] not in NOT_A_SETTING
        ),
        sweep=several,
        side_by_side=several and launcher != "basic",
    )


def remove_empty(folder: Path) -> None:
    """Take back the folder that Hydra makes before a run is checked, and its empty parents."""
    below_here = [p for p in folder.parents if Path.cwd() in p.parents]
    for path in (folder, *below_here):
        try:
            path.rmdir()
        except OSError:  # somebody's files are in it
            break


# here, because the worker processes of a sweep import this file and call nothing of it first
OmegaConf.register_new_resolver("run_name", _folder_name, replace=True)
OmegaConf.register_new_resolver("inside", _inside, replace=True)
