"""The setting of a run: what of its configuration can change a result, less the seed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

# where, with what and how often something is written or looked at changes no result; the keys of
# model follow those of orthogonal
NO_MATTER = (
    "name",
    "seed",
    "threads",
    "rerun",
    "device",
    "logger",
    "orthogonal",
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "train.gradient_flow_every",
)
# keys that had another name when runs were begun that are still to be read and resumed
FORMER_KEYS = {
    "parameter_budget": "budget",
    "rerun": "redo",
    "hydra/launcher_defaults": "hydra/launching",
    "hydra/sweeper_defaults": "hydra/sweeping",
    "network.checkpoint_steps": "network.segment",
    "network.tie_weights": "network.tied",
    "train.checkpoint_every": "train.save_every",
    "train.checkpoint_minutes": "train.save_minutes",
    "train.clip_grad_norm": "train.clip",
    "train.decay_fraction": "train.decay",
    "train.gradient_flow_every": "train.diagnose_every",
    "train.keep_checkpoints": "train.keep",
    "train.max_nonfinite_batches": "train.skip",
}
# callables that stood elsewhere when runs were begun that are still to be read and resumed
FORMER_TARGETS = {
    "benchmarks.training.settings.TrainSettings": "benchmarks.settings.Settings",
    "benchmarks.training.optimizer.make_optimizer": "benchmarks.optimizer.make_optimizer",
}
FORMER_VALUES = {  # and options that had other values
    "model.backend": {
        "c": "compiled",
        "eager": "fused",
        "custom_op": "operator",
        "autograd": "reference",
    },
    "optimizer.algorithm.adaptivity": {"elementwise": "element", "scalar": "matrix"},
}
OF_MODRELU = ("model.modrelu_bias", "optimizer.lr_modrelu")  # no matter to any other nonlinearity
DIGITS = 10  # of the hexadecimal fingerprint
MAX_NAME_BYTES = 127  # bytes of a run's name; W&B takes as many characters
MAX_TASK_NAME = 60  # characters of a benchmark's name: a file's has 255 bytes, a letter up to 4


def setting(config: dict[str, Any]) -> dict[str, Any]:
    """The resolved configuration as dotted keys, without what cannot change a result.

    Runs with equal settings differ by their seeds alone; one seed gives one result. A key that is
    null is left out: a run from before there was such a key has the same setting.
    """
    values = _dotted(update_keys(config), "")
    idle = NO_MATTER if values.get("model.nonlinearity") == "modrelu" else NO_MATTER + OF_MODRELU
    return {k: value for k, value in values.items() if value is not None and not _below(k, idle)}


def update_keys(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run, whenever it was begun, with the keys and values of today."""
    updated = {key: dict(part) if isinstance(part, dict) else part for key, part in config.items()}
    for key, former in FORMER_KEYS.items():
        group, _, name = former.rpartition(".")
        node = updated.get(group) if group else updated
        if isinstance(node, dict) and name in node:
            node.setdefault(key.rpartition(".")[2], node.pop(name))
    for key, values in FORMER_VALUES.items():
        _rename_value(updated, key.split("."), {former: now for now, former in values.items()})
    return updated


def renamed(key: str) -> str | None:
    """What to say of a key that has another name today; None of any other."""
    for new, former in FORMER_KEYS.items():
        if former == key:
            return f"{former} is now called {new}"
    return None


def fingerprint(config: dict[str, Any]) -> str:
    """Ten hexadecimal digits of the SHA-256 of the setting: equal for equal settings alone."""
    former = {FORMER_KEYS.get(k, k): _former_value(k, v) for k, v in setting(config).items()}
    text = json.dumps(former, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def run_name(config: dict[str, Any], model: str) -> str:
    """The name of a run's folder: ``MODEL-FINGERPRINT-seedSEED``, safe as a file's name."""
    tail = plain_name(f"-{fingerprint(config)}-seed{config.get('seed')}", MAX_NAME_BYTES)
    return plain_name(model, MAX_NAME_BYTES - len(tail.encode())) + tail


def plain_name(text: object, most: int) -> str:
    """A text as the name of one file of at most so many bytes: a path in it leads nowhere."""
    return re.sub(r"[^\w-]", "_", str(text)).encode(errors="replace")[:most].decode(errors="ignore")


def _below(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _dotted(node: Any, prefix: str) -> dict[str, Any]:
    if isinstance(node, dict) and node:
        parts = [_dotted(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in node.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: _plain(node)}


def _former_value(key: str, value: Any) -> Any:
    return FORMER_VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def _rename_value(node: dict[str, Any], path: list[str], names: dict[str, str]) -> None:
    """Give a value below ``node`` the name of today; what is on the way is copied."""
    first, *rest = path
    value = node.get(first)
    if rest and isinstance(value, dict):
        node[first] = dict(value)
        _rename_value(node[first], rest, names)
    elif not rest and isinstance(value, str):
        node[first] = names.get(value, value)


def _plain(value: Any) -> Any:
    """The value, with 1.0 and 1 as one number, and a callable under its first name."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, str):
        return FORMER_TARGETS.get(value, value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
