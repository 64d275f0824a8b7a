"""The tables of ``conf/tuned`` as options of Hydra's group ``tuned``, one a model and optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from .errors import ConfigError

GROUP = "tuned"


def load_tables(conf: Path) -> dict[str, dict[str, Any]]:
    """What each table sets below ``optimizer``, by ``TABLE_MODEL_OPTIMIZER``.

    A file that names its package is an option of its own, as of any group, and no table.

    Raises:
        ConfigError: if another file is no table.
    """
    options = {}
    for path in sorted((conf / GROUP).glob("*.yaml")):
        if path.read_text(encoding="utf-8").startswith("# @package"):
            continue
        tables: Any = OmegaConf.to_container(OmegaConf.load(path))
        try:
            for table, optimizers in tables.items():
                for optimizer, models in optimizers.items():
                    for model, values in models.items():
                        options[f"{table}_{model}_{optimizer}"] = dict(values)
        except (AttributeError, TypeError, ValueError) as error:
            expected = "TABLE: {OPTIMIZER: {MODEL: {lr: ...}}}"
            raise ConfigError(f"{path} must hold {expected}, got {tables}"[:200]) from error
    return options


def register_tables(conf: Path) -> None:
    """Let ``tuned: copy_ortho_rmsprop`` in a list of defaults find a row of a table."""
    for name, values in load_tables(conf).items():
        node = {"optimizer": values}
        ConfigStore.instance().store(name, node, GROUP, package="_global_", provider="conf/tuned")
