"""Wrong configuration becomes one line that names the key, what came and the choices."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from .fingerprint import renamed
from .plugins import EXTRAS

USER_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    ValidationError,
    TypeError,
    ValueError,
    RuntimeError,
)

Made = TypeVar("Made")
FAILED, CONFIG_ERROR, INTERRUPTED = 1, 2, 130  # exit codes
MAX_ERRORS = 3  # that one line names
MAX_CHARACTERS_SHOWN = 100  # of a wrong value


class ConfigError(ValueError):
    """The configuration cannot be run; the message is one line for the user."""


def build(key: str, node: DictConfig, *args: Any, **kwargs: Any) -> Any:
    """Instantiate ``cfg.<key>`` and call it if it is partial and arguments are given.

    Raises:
        ConfigError: if the callable refuses its arguments; nothing has been written yet then.
    """

    def make() -> Any:
        made = hydra.utils.instantiate(node)
        return made(*args, **kwargs) if args or kwargs else made

    return as_config_error(key, make, node)


def as_config_error(key: str, action: Callable[[], Made], node: object = None) -> Made:
    """Do what the values below ``cfg.<key>`` are for; ``node`` holds them, if that helps.

    Raises:
        ConfigError: if it is refused.
    """
    try:
        return action()
    except ConfigError:
        raise
    except USER_ERRORS as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        told = format_error(cause or error, key)
        unknown = re.search(r"unexpected keyword argument '(\w+)'", told)
        places = _places(node, key, unknown.group(1)) if unknown else []
        raise ConfigError(places[0] if places else told) from error


def validate(kind: Callable[..., Made], values: Mapping[str, Any], prefix: str) -> Made:
    """``values`` as one object of a pydantic class, whose keys stand below ``prefix``.

    A field with a description says with it what was expected.

    Raises:
        ConfigError: for unknown, missing and wrong values, in one line.
    """
    try:
        return kind(**{str(name): value for name, value in values.items()})
    except ValidationError as error:
        texts = dict.fromkeys(_explain(kind, values, prefix, each) for each in error.errors())
        raise ConfigError(_join(list(texts))) from error


def _explain(kind: Any, values: Mapping[str, Any], prefix: str, error: Any) -> str:
    fields = getattr(kind, "model_fields", None) or kind.__pydantic_fields__
    location, value = error["loc"], error["input"]
    name = str(location[0]) if location else ""
    key = f"{prefix}.{name}" if prefix else name
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = unknown_choice(f"a key of {prefix or 'the configuration'}", name, fields)
        return f"{key}={value!r} sets nothing: {known}"
    if name and name not in values:
        return f"{key} is missing"
    if name in fields and fields[name].description:
        shown = _squeeze(repr(values[name]))[:MAX_CHARACTERS_SHOWN]
        return f"{key} must be {fields[name].description}, got {shown}"
    return _field(prefix, location, error["msg"], value)


def format_error(error: BaseException, key: str = "") -> str:
    """The message of a refusal, on one line, with the choices where they are known.

    ``key`` is where in the configuration the refusing callable stands.
    """
    if isinstance(error, ValidationError):
        return _join([_field(key, e["loc"], e["msg"], e["input"]) for e in error.errors()])
    if isinstance(error, ConfigError) or key:
        return f"{key}: {_squeeze(str(error))}" if key else _squeeze(str(error))
    missing_option = re.match(
        r"(?s)(?:In '\S+': )?Could not find '(\S+)/(\S+)'"
        r".*Available options in '\S+':\n(.*?)(\n\S|$)",
        str(error),
    )
    if missing_option:
        group, got, options = missing_option.group(1, 2, 3)
        return unknown_choice(group, got, options.split())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        parent = cause.parent_node
        if cause.key is not None and cause.key not in parent:
            prefix = str(cause.full_key or cause.key).rpartition(".")[0]
            where = f"a key of {prefix}" if prefix else "a key of the configuration"
            now = renamed(f"{prefix}.{cause.key}" if prefix else str(cause.key))
            return now or unknown_choice(where, str(cause.key), [str(name) for name in parent])
        return f"{cause.full_key}: {_squeeze(str(cause))}"
    return _squeeze(str(error))


def _join(texts: list[str]) -> str:
    more = [f"and {len(texts) - MAX_ERRORS} more"] if len(texts) > MAX_ERRORS else []
    return "; ".join([*texts[:MAX_ERRORS], *more])


def _places(node: Any, key: str, name: str) -> list[str]:
    """For each group of keys from ``node`` on that has a key ``name``, that it sets nothing there.

    ``key`` is where ``node`` stands.
    """
    if not isinstance(node, DictConfig):
        return []
    found = []
    if name in node:
        others = [str(other) for other in node if other != name]
        told = unknown_choice(f"a key of {key}", name, others)
        found = [f"{key}.{name}={node.get(name)!r} sets nothing: {told}"]
    return found + [
        told for k in map(str, node) for told in _places(node.get(k), f"{key}.{k}", name)
    ]


def unknown_choice(what: str, got: str, choices: Iterable[str]) -> str:
    """The message for a name that is none of the choices, with the nearest of them."""
    extra = EXTRAS.get(what, {}).get(got)
    if extra:
        return f'{what}={got} needs: pip install -c constraints.txt -e ".[{extra}]"'
    options = sorted(name for name in choices if not name.startswith("_") and name != "hydra")
    close = difflib.get_close_matches(got, options, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{what} must be one of {options}, got {got!r}{hint}"


def _field(key: str, location: tuple[int | str, ...], message: str, got: object) -> str:
    name = ".".join(str(part) for part in (key, *location) if part)
    shown = _squeeze(repr(got)) if location else ""  # a whole object says less than its message
    shown = f", got {shown[:MAX_CHARACTERS_SHOWN]}" if shown else ""
    return f"{name}: {message[:1].lower()}{message[1:]}{shown}"


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def warn(text: str) -> None:
    """One line for whoever watches the run, if anybody still does."""
    with contextlib.suppress(OSError, ValueError):
        print(f"warning: {_squeeze(text)}", file=sys.stderr, flush=True)
