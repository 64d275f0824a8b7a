"""What the configuration within a file of a run may name: such a file may come from anybody."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from benchmarks import models
from benchmarks.config.compose import CONF
from benchmarks.config.errors import ConfigError

# exactly these, the models of conf/model: a dotted name below a module of ours could lead on into
# what it imports
NAMES = {"Network", *(path.stem for path in (CONF / "model").glob("*.yaml"))}
OURS = frozenset(f"benchmarks.models.{name}" for name in NAMES.intersection(models.__all__))
TARGET, PARTIAL = "_target_", "_partial_"
DEEPEST = 8  # groups within groups

# Note [What a file may make us call]
# Hydra's instantiate imports and calls whatever stands behind _target_, at any depth, with what
# stands behind _args_; OmegaConf reads ${oc.env:NAME} out of the environment. On a command line
# that is the user's own doing. A file of a run is data: it may name the models of this project and
# what the user trusts by name, and holds no interpolation, for it was resolved when it was written.


def check_saved(
    node: Any, trusted: Collection[str] = (), key: str = "config", depth: int = 0
) -> None:
    """See that a configuration read from a file calls nothing but known models.

    Args:
        node: plain containers.
        trusted: dotted names that may stand behind ``_target_`` too.
        key: where the node stands, for the message.
        depth: how many groups it lies in.

    Raises:
        ConfigError: if it names anything else, or is not plain.
    """
    if depth > DEEPEST:
        raise ConfigError(f"{key[:200]} lies deeper than a configuration goes")
    if isinstance(node, dict):
        for name, value in node.items():
            if not isinstance(name, str) or "${" in name or "." in name:
                raise ConfigError(f"{key} must have plain names as keys, got {str(name)[:100]!r}")
            if name == TARGET:
                _check_target(f"{key}.{name}", value, trusted)
            elif name.startswith("_") and name != PARTIAL:
                raise ConfigError(f"{key}.{name} has no place in the file of a run")
            check_saved(value, trusted, f"{key}.{name}", depth + 1)
    elif isinstance(node, list):
        for k, value in enumerate(node):
            check_saved(value, trusted, f"{key}.{k}", depth + 1)
    elif not isinstance(node, (str, bool, int, float, type(None))):
        raise ConfigError(f"{key} must be plain, got {type(node).__name__}")
    elif isinstance(node, str) and "${" in node:
        raise ConfigError(f"{key} must be a value, got the interpolation {node[:100]!r}")


def _check_target(key: str, value: Any, trusted: Collection[str]) -> None:
    if not isinstance(value, str) or value not in OURS.union(trusted):
        raise ConfigError(
            f"{key} in the file of a run must be a model of benchmarks.models, got "
            f"{str(value)[:100]!r}: if you know that code, trust={str(value)[:100]} lets it run"
        )
