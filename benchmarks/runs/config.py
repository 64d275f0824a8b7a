"""The configuration of a run as one object, validated before anything is built."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, PrivateAttr

from benchmarks.config.errors import ConfigError, validate
from benchmarks.config.fingerprint import FORMER_KEYS, FORMER_VALUES, MAX_TASK_NAME, renamed
from benchmarks.models import Network
from benchmarks.models.checks import MAX_MAGNITUDE
from benchmarks.training.settings import TrainSettings
from orthornn.init import INITIALIZERS
from orthornn.optim.validation import ADAPTIVITIES, ON_NONFINITE
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

from .folder import Rerun

MAX_INTEGER = 2**53  # up to here every whole number is one of JSON and of float64
MAX_CHARACTERS = 4096  # of a value, as of a path
OWN = ("benchmarks", "orthornn")  # packages whose callables this project knows
TARGETS = {
    "network": "benchmarks.models.Network",
    "train": "benchmarks.training.settings.TrainSettings",
}

Made = TypeVar("Made", TrainSettings, Network)


def _field(expected: str, **limits: Any) -> Any:
    """A field whose refusal says what was ``expected``."""
    return Field(description=expected, **limits)


_Share = Annotated[float, _field("a number >= 0 and < 1", ge=0, lt=1)]
_Switch = Annotated[bool, _field("true or false")]
_OptionalSwitch = Annotated[bool | None, _field("true, false or null")]
_Off = Annotated[
    Literal[False], _field("false: it is for graphs on a GPU and derivatives of a training")
]
_Group = Annotated[DictConfig, _field("a group of keys")]


class _Keys(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True
    )


class OrthogonalStart(_Keys):
    """How recurrent weights start; validated here, for not every model reads it."""

    init: Literal[tuple(INITIALIZERS)] = _field(f"one of {sorted(INITIALIZERS)}")  # type: ignore[valid-type]
    nonlinearity: Literal[tuple(NONLINEARITIES)] = _field(f"one of {sorted(NONLINEARITIES)}")  # type: ignore[valid-type]
    input_scale: float = _field(f"a number > 0 and <= {MAX_MAGNITUDE}", gt=0, le=MAX_MAGNITUDE)
    modrelu_bias: Annotated[float, Field(ge=-MAX_MAGNITUDE, le=MAX_MAGNITUDE)] | None = _field(
        f"null or a number from {-MAX_MAGNITUDE} to {MAX_MAGNITUDE}"
    )


class AlgorithmOptions(_Keys, extra="allow"):
    """The options of orthornn's optimizers and torch's, where they are given."""

    momentum: _Share = 0.0
    alpha: _Share = 0.0
    dampening: float = _field("a number from 0 to 1", default=0.0, ge=0, le=1)
    betas: Annotated[list[_Share], Field(min_length=2, max_length=2)] = _field(
        "two numbers, each >= 0 and < 1", default=[]
    )
    eps: float = _field("a number > 0 and <= 1", default=1.0, gt=0, le=1)
    weight_decay: float = _field("a number from 0 to 1000", default=0.0, ge=0, le=1000)
    rows: Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)] | None = _field(
        "a share in (0, 1], a number >= 2 or null", default=None
    )
    seed: NonNegativeInt = _field("an integer >= 0", default=0)
    adaptivity: Literal[ADAPTIVITIES] = _field(  # type: ignore[valid-type]
        "one of ['elementwise', 'scalar', null]", default=None
    )
    on_nonfinite: Literal[ON_NONFINITE] = _field(f"one of {list(ON_NONFINITE)}", default="raise")  # type: ignore[valid-type]
    nesterov: _Switch = False
    centered: _Switch = False
    amsgrad: _Switch = False
    maximize: _Switch = False
    decoupled_weight_decay: _Switch = False
    foreach: _OptionalSwitch = None
    fused: _OptionalSwitch = None
    capturable: _Off = False
    differentiable: _Off = False


class ModelKeys(_Keys, extra="allow"):
    """The key that a model has beside the arguments of its callable."""

    hidden_size: PositiveInt | None = _field("an integer > 0 or null", default=None)


class RunConfig(_Keys):
    """What a run is told, validated once: every key that is read, and no others.

    ``task``, ``data``, ``model``, ``optimizer`` and ``logger`` name a callable and its arguments,
    which that callable refuses itself when it is built. All else is validated here, also for a
    run that is finished already.
    """

    name: Annotated[str, Field(pattern=rf"^[\w-]{{1,{MAX_TASK_NAME}}}$")] = _field(
        f"1 to {MAX_TASK_NAME} letters, digits, _ and -"
    )
    seed: NonNegativeInt = _field("an integer >= 0")
    threads: Annotated[int, Field(gt=0, le=1024)] | Literal["auto"] = _field(
        "an integer from 1 to 1024 or auto"
    )
    parameter_budget: PositiveInt | None = _field("an integer > 0 or null")
    rerun: Rerun = _field(f"one of {list(get_args(Rerun))}")
    device: Literal["cpu", "cuda"] = _field("one of ['cpu', 'cuda']")
    orthogonal: OrthogonalStart
    network: Network
    train: TrainSettings
    task: _Group
    model: _Group
    optimizer: _Group
    logger: _Group
    data: DictConfig | None = _field("a group of keys or null", default=None)
    _plain: dict[str, Any] = PrivateAttr()

    @classmethod
    def of(cls, cfg: DictConfig) -> RunConfig:
        """The configuration that Hydra composed, resolved and validated.

        Raises:
            ConfigError: with the key, what came and what was expected.
        """
        for former in FORMER_KEYS.values():
            if OmegaConf.select(cfg, former) is not None:
                raise ConfigError(str(renamed(former)))
        for key, former_values in FORMER_VALUES.items():
            if _package(OmegaConf.select(cfg, f"{key.rpartition('.')[0]}._target_")) not in OWN:
                continue
            for value, former in former_values.items():
                if OmegaConf.select(cfg, key) == former:
                    raise ConfigError(f"{key}={former} is now called {key}={value}")
        for key in ("orthogonal", "network", "train"):
            if key in cfg and not isinstance(cfg[key], DictConfig):
                raise ConfigError(f"{key} must be a group of keys, got {cfg[key]!r}")
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        for key, value in _leaves(plain, ""):
            _check_leaf(key, value)
        values = {str(key): cfg[key] for key in cfg}
        if "orthogonal" in values:
            values["orthogonal"] = validate(OrthogonalStart, plain["orthogonal"], "orthogonal")
        if "network" in values:
            values["network"] = _make_group("network", plain["network"], Network)
        if "train" in values:
            values["train"] = _make_group("train", plain["train"], TrainSettings)
        config = validate(cls, values, "")
        validate(ModelKeys, plain["model"], "model")
        _check_algorithm(plain["optimizer"].get("algorithm"))
        config._plain = plain
        return config

    @property
    def plain(self) -> dict[str, Any]:
        """The whole resolved configuration, as it is written and hashed."""
        return self._plain


def _make_group(key: str, node: dict[str, Any], made: type[Made]) -> Made:
    """A group whose ``_target_`` can be one thing only, as that."""
    if node.get("_target_") != TARGETS[key]:
        raise ConfigError(f"{key} must make a {made.__name__}, got {node!r}"[:200])
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    return validate(made, arguments, key)


def _check_algorithm(algorithm: Any) -> None:
    """The options of an optimizer of orthornn's or torch's; others say themselves what they take.

    Raises:
        ConfigError: for an option out of its range.
    """
    if not isinstance(algorithm, dict):
        return
    if _package(algorithm.get("_target_")) in ("orthornn", "torch"):
        validate(AlgorithmOptions, algorithm, "optimizer.algorithm")


def _package(target: Any) -> str:
    return str(target).partition(".")[0]


def _check_leaf(key: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number, got {value}")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ConfigError(f"{key} must be at most 2**53 = {MAX_INTEGER}, got {str(value)[:20]}...")
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise ConfigError(f"{key} must have at most {MAX_CHARACTERS} characters, got {len(value)}")


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
