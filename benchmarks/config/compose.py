"""Configurations as Hydra composes them, outside of a command line too."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .fingerprint import MAX_TASK_NAME, plain_name, run_name
from .tuned import register_tables

CONF = Path(__file__).resolve().parents[2] / "conf"
register_tables(CONF)  # here, for without them Hydra would pass over `optional tuned` in silence


# overrides whose order does not matter: of single values, and of files to read
_A_VALUE = re.compile(r"(?!hydra\.)(seed|\w+(\.\w+)+)=(?!.*(\$|choice\(|range\(|glob\())")


_A_CHOICE = re.compile(r"[\w/]+=[\w.+-]*")


def compose(name: str, overrides: list[str]) -> DictConfig:
    """The configuration ``conf/<name>.yaml`` with overrides, outside of a command line."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides)


class Composed(NamedTuple):
    """What a command line would run: the resolved configuration, the model's name, the folder."""

    config: dict[str, Any]
    model: str
    folder: str


def compose_run(name: str, overrides: Sequence[str]) -> Composed:
    """The run that a benchmark does with overrides, and its folder below the one for all runs.

    Those that only set a value decide nothing about which files are read, so that many runs that
    differ in them are composed once. What is neither such a one nor a choice of a file is left to
    Hydra, with all others.
    """
    values = [override for override in overrides if _A_VALUE.match(override)]
    others = tuple(override for override in overrides if override not in values)
    if not all(map(_A_CHOICE.fullmatch, others)):
        values, others = [], tuple(overrides)
    cfg = copy.deepcopy(_composed(CONF, name, others))
    try:
        for value in OverridesParser.create().parse_overrides(values):
            OmegaConf.update(cfg, value.key_or_group, value.value())
        config = _without_hydra(cfg)
    except (HydraException, OmegaConfBaseException):  # of all of them, Hydra says what is wrong
        cfg = _composed(CONF, name, tuple(overrides))
        config = _without_hydra(cfg)
    model = str(cfg.hydra.runtime.choices.get("model", ""))
    folder = f"{_inside(config['name'])}/{run_name(config, model)}"
    return Composed(config, model, folder)


@lru_cache(32)
def _composed(conf: Path, name: str, overrides: tuple[str, ...]) -> DictConfig:
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        return hydra.compose(name, list(overrides), return_hydra_config=True)


def _folder_name(*, _root_: DictConfig) -> str:
    """The resolver ``${run_name:}``: the folder of a run follows from its setting and seed."""
    return run_name(_without_hydra(_root_), str(_root_.hydra.runtime.choices.get("model", "")))


def _without_hydra(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration of a run."""
    keys = [str(key) for key in cfg if key != "hydra"]
    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, keys), resolve=True)
    return config  # type: ignore[no-any-return]


def _inside(name: object) -> str:
    """The resolver ``${inside:TEXT}``: one folder below, whatever the text; it is refused later."""
    return plain_name(name, 4 * MAX_TASK_NAME) or "_"


def expand(overrides: list[str]) -> list[list[str]]:
    """Every combination of the values that the overrides of a sweep name."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    sides = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in parsed
    ]
    return [list(combination) for combination in itertools.product(*sides)]
