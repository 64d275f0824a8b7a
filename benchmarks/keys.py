"""The plain keys of a configuration, which are no callable's arguments: checked before all else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from .refusal import check

Redo = Literal["none", "failed", "all"]
Threads = Annotated[int, Field(gt=0, le=1024)]
Name = Annotated[str, Field(pattern=r"^[\w-]+$")]
EXPECTED: dict[str, tuple[Any, str]] = {
    "name": (Name, "letters, digits, _ and -"),
    "seed": (NonNegativeInt, "an integer >= 0"),
    "threads": (Threads | Literal["auto"], "an integer from 1 to 1024 or auto"),
    "budget": (PositiveInt | None, "an integer > 0 or null"),
    "redo": (Redo, "one of ['none', 'failed', 'all']"),
    "device": (Literal["cpu", "cuda"], "one of ['cpu', 'cuda']"),
}


@dataclass(frozen=True)
class Keys:
    """What the keys of :data:`EXPECTED` say.

    Attributes:
        name: of the benchmark.
        seed: of initialisation and training.
        threads: a number, or ``"auto"``.
        budget: stored parameters, if they decide the hidden size.
        redo: which runs that are over are wanted again.
        device: where to compute.
    """

    name: str
    seed: int
    threads: int | Literal["auto"]
    budget: int | None
    redo: Redo
    device: str

    @classmethod
    def of(cls, cfg: DictConfig) -> Keys:
        """The keys of a configuration.

        Raises:
            ConfigError: if one is not as expected.
        """
        return cls(**{key: check(key, cfg[key], *EXPECTED[key]) for key in EXPECTED})
