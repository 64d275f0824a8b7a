"""The command line of a benchmark: Hydra composes the configuration, refusals are one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from .refusal import ConfigError, one_line

CONF = Path(__file__).resolve().parent.parent / "conf"
DIVERGED, CONFIG_ERROR, INTERRUPTED = 1, 2, 130
OUT_OF_MEMORY = (  # in the RuntimeErrors of torch, whose kind says nothing
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Storage size calculation overflowed",
)
NOT_A_SETTING = ("model", "seed", "threads", "logger")


class Call(NamedTuple):
    """What the command line says beside the configuration.

    Attributes:
        folder: where the run is to be written; Hydra has made it.
        model: the name of the chosen model, if the benchmark has models.
        overrides: the overrides that make the setting, without model, seed, threads and logger.
        side_by_side: whether other runs of the same sweep run at the same time.
    """

    folder: Path
    model: str = ""
    overrides: tuple[str, ...] = ()
    side_by_side: bool = False


def main(name: str, job: Callable[[DictConfig, Call], Any]) -> None:
    """Do ``job`` on the configuration ``conf/<name>.yaml`` with the command line's overrides.

    Exits with 2 and one line for a configuration that cannot be run, with 1 for a run that diverged
    or did not fit the memory, with 130 after Ctrl-C. ``HYDRA_FULL_ERROR=1`` shows tracebacks.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's printer

    def refuse(error: Exception, code: int) -> NoReturn:
        if wants_traceback:
            raise error
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(code)

    started = False

    def checked(cfg: DictConfig) -> Any:
        nonlocal started
        started = True
        call = called()
        try:
            return job(cfg, call)
        except (ConfigError, OmegaConfBaseException) as error:
            # nothing after it in a sweep could be trusted
            remove_empty(call.folder)
            refuse(error, CONFIG_ERROR)

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(checked)()
    except (HydraException, OmegaConfBaseException) as error:
        refuse(error, CONFIG_ERROR)
    except ArithmeticError as error:
        refuse(error, DIVERGED)
    except (OSError, ValueError) as error:
        if started:
            raise
        refuse(error, CONFIG_ERROR)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        refuse(error, DIVERGED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is of an allocation, which torch raises as a RuntimeError."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def called() -> Call:
    """The call that Hydra is running."""
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    launcher = str(choices.get("hydra/launcher", "basic"))
    return Call(
        folder=Path(hydra_config.runtime.output_dir),
        model=str(choices.get("model", "")),
        overrides=tuple(
            override
            for override in hydra_config.overrides.task
            if override.partition("=")[0] not in NOT_A_SETTING
        ),
        side_by_side=hydra_config.mode == RunMode.MULTIRUN and launcher != "basic",
    )


def compose(name: str, overrides: list[str]) -> DictConfig:
    """The configuration ``conf/<name>.yaml`` with overrides, outside of a command line."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides)


def remove_empty(folder: Path) -> None:
    """Take back the folder that Hydra makes before a run is checked, and its empty parents."""
    below_here = [p for p in folder.parents if Path.cwd() in p.parents]
    for path in (folder, *below_here):
        if any(path.iterdir()):
            break
        path.rmdir()
