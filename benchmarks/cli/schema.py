"""The keys that every configuration has, and the ranges of those that no callable takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, get_args

from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeInt, PositiveInt

from benchmarks.config.errors import ConfigError, build, check, unknown_choice
from benchmarks.config.fingerprint import FORMER_KEYS, MAX_TASK_NAME, renamed
from benchmarks.models import Network
from benchmarks.models.checks import MAX_MAGNITUDE, check_number
from benchmarks.runs.folder import Rerun
from benchmarks.training.settings import TrainSettings
from orthornn._validation import check_choice
from orthornn.init import INITIALIZERS
from orthornn.recurrence.nonlinearity import NONLINEARITIES

MOST = 2**53  # up to here every whole number is one of JSON and of float64
MOST_TEXT = 4096  # characters of a value, as of a path

# a type for pydantic, and what was expected in words
PLAIN: dict[str, tuple[Any, str]] = {
    "name": (
        Annotated[str, Field(pattern=rf"^[\w-]{{1,{MAX_TASK_NAME}}}$")],
        f"1 to {MAX_TASK_NAME} letters, digits, _ and -",
    ),
    "seed": (NonNegativeInt, "an integer >= 0"),
    "threads": (
        Annotated[int, Field(gt=0, le=1024)] | Literal["auto"],
        "an integer from 1 to 1024 or auto",
    ),
    "parameter_budget": (PositiveInt | None, "an integer > 0 or null"),
    "rerun": (Rerun, f"one of {list(get_args(Rerun))}"),
    "device": (Literal["cpu", "cuda"], "one of ['cpu', 'cuda']"),
}
GROUPS = ("orthogonal", "network", "train", "task", "model", "optimizer", "logger")
OPTIONAL = ("data",)  # of tasks that read some
START = ("init", "input_scale", "modrelu_bias", "nonlinearity")  # below orthogonal


def check_keys(cfg: DictConfig) -> None:
    """See that a configuration has the keys that are read and no others, each in its range.

    What a callable takes is checked where it is built, but for ``network`` and ``train``, which
    need no data. A run that is finished already is checked like any other.

    Raises:
        ConfigError: with the key, what came and what was expected.
    """
    former = [key for key in FORMER_KEYS.values() if OmegaConf.select(cfg, key) is not None]
    if former:
        raise ConfigError(str(renamed(former[0])))
    for key in cfg:
        if key not in (*PLAIN, *GROUPS, *OPTIONAL):
            _refuse_key("", str(key), cfg, [*PLAIN, *GROUPS, *OPTIONAL])
    for key in (*PLAIN, *GROUPS):
        if key not in cfg:
            raise ConfigError(f"{key} is missing")
    for key in GROUPS:
        if not isinstance(cfg[key], DictConfig):
            raise ConfigError(f"{key} must be a group of keys, got {cfg[key]!r}")
    resolved: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    for key, value in _leaves(resolved, ""):
        _check_leaf(key, value)
    for key, (kind, expected) in PLAIN.items():
        check(key, resolved[key], kind, expected)
    _check_start(cfg.orthogonal)
    for key, expected_kind in (("network", Network), ("train", TrainSettings)):
        if not isinstance(build(key, cfg[key]), expected_kind):
            raise ConfigError(f"{key} must make a {expected_kind.__name__}, got {cfg[key]!r}"[:200])


def _check_start(orthogonal: DictConfig) -> None:
    """How recurrent weights start: checked here, for not every model reads it."""
    for key in orthogonal:
        if key not in START:
            _refuse_key("orthogonal", str(key), orthogonal, START)
    for key in START:
        if key not in orthogonal:
            raise ConfigError(f"orthogonal.{key} is missing")

    try:
        check_choice("orthogonal.init", orthogonal.init, INITIALIZERS)
        check_choice("orthogonal.nonlinearity", orthogonal.nonlinearity, NONLINEARITIES)
        check_number("orthogonal.input_scale", orthogonal.input_scale, 0, MAX_MAGNITUDE, above=True)
        if orthogonal.modrelu_bias is not None:
            check_number(
                "orthogonal.modrelu_bias", orthogonal.modrelu_bias, -MAX_MAGNITUDE, MAX_MAGNITUDE
            )
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _refuse_key(group: str, key: str, node: DictConfig, known: Iterable[str]) -> None:
    value = OmegaConf.to_container(node).get(key)  # type: ignore[union-attr]
    told = unknown_choice(f"a key of {group or 'the configuration'}", key, known)
    raise ConfigError(f"{group}{'.' if group else ''}{key}={value!r} sets nothing: {told}")


def _check_leaf(key: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number, got {value}")
    if isinstance(value, int) and abs(value) > MOST:
        raise ConfigError(f"{key} must be at most 2**53 = {MOST}, got {str(value)[:20]}...")
    if isinstance(value, str) and len(value) > MOST_TEXT:
        raise ConfigError(f"{key} must have at most {MOST_TEXT} characters, got {len(value)}")


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """All values that are no containers, with dotted keys."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for k, value in enumerate(node):
            yield from _leaves(value, f"{key}[{k}]")
    else:
        yield key, node
