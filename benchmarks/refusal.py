"""Wrong configuration becomes one line that names the key, what came and the choices."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

REFUSALS = (HydraException, OmegaConfBaseException, ValidationError, TypeError, ValueError)


class ConfigError(ValueError):
    """The configuration cannot be run; the message is one line for the user."""


def build(key: str, node: DictConfig, *args: Any, **kwargs: Any) -> Any:
    """Instantiate ``cfg.<key>`` and call it if it is partial and arguments are given.

    Raises:
        ConfigError: if the callable refuses its arguments; nothing has been written yet then.
    """
    try:
        made = hydra.utils.instantiate(node)
        return made(*args, **kwargs) if args or kwargs else made
    except REFUSALS as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        raise ConfigError(f"{key}: {one_line(cause or error)}") from error


def one_line(error: BaseException) -> str:
    """The message of a refusal, on one line, with the choices where they are known."""
    if isinstance(error, ValidationError):
        return "; ".join(_field(e["loc"], e["msg"], e["input"]) for e in error.errors())
    missing_option = re.match(
        r"(?s)(?:In '\S+': )?Could not find '(\S+)/(\S+)'.*Available options in '\S+':\n(.*?)(\n\S|$)",
        str(error),
    )
    if missing_option:
        group, got, options = missing_option.group(1, 2, 3)
        return _choose(group, got, options.split())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        parent = cause.parent_node
        if cause.key is not None and cause.key not in parent:
            prefix = str(cause.full_key or cause.key).rpartition(".")[0]
            where = f"a key of {prefix}" if prefix else "a key of the configuration"
            return _choose(where, str(cause.key), [str(key) for key in parent])
        return f"{cause.full_key}: {_squeeze(str(cause))}"
    return _squeeze(str(error))


def _choose(what: str, got: str, choices: Iterable[str]) -> str:
    options = sorted(choices)
    close = difflib.get_close_matches(got, options, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{what} must be one of {options}, got {got!r}{hint}"


def _field(location: tuple[int | str, ...], message: str, got: object) -> str:
    name = ".".join(str(part) for part in location)
    return f"{name}: {message[:1].lower()}{message[1:]}, got {got!r}"


def _squeeze(text: str) -> str:
    return " ".join(text.split())
