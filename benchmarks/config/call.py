"""What a command line says beside the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Call(NamedTuple):
    """What the command line says beside the configuration.

    Attributes:
        folder: where the run is to be written; Hydra has made it.
        model: the name of the chosen model, if the benchmark has models.
        overrides: those that make the setting, without the model and what changes no result.
        sweep: whether it is one job of several.
        side_by_side: whether other runs of the same sweep run at the same time.
    """

    folder: Path
    model: str = ""
    overrides: tuple[str, ...] = ()
    sweep: bool = False
    side_by_side: bool = False
