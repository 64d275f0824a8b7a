"""The tables of ``conf/tuned`` as options of Hydra's group ``tuned``, one a model and optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

GROUP = "tuned"


def load_tables(conf: Path) -> dict[str, dict[str, Any]]:
    """What each table sets below ``optimizer``, by ``TABLE_MODEL_OPTIMIZER``."""
    options = {}
    for path in sorted((conf / GROUP).glob("*.yaml")):
        tables: Any = OmegaConf.to_container(OmegaConf.load(path))
        for table, optimizers in tables.items():
            for optimizer, models in optimizers.items():
                for model, values in models.items():
                    options[f"{table}_{model}_{optimizer}"] = values
    return options


def register_tables(conf: Path) -> None:
    """Let ``tuned: copy_ortho_rmsprop`` in a list of defaults find a row of a table."""
    for name, values in load_tables(conf).items():
        node = {"optimizer": values}
        ConfigStore.instance().store(name, node, GROUP, package="_global_", provider="conf/tuned")
