"""The launchers and sweepers of Hydra that a sweep can name, and what each comes with."""

from __future__ import annotations

from collections.abc import Sequence

# the extra of setup.cfg that brings each
EXTRAS = {
    "hydra/launcher": {
        "joblib": "sweep",
        "submitit_local": "slurm",
        "submitit_slurm": "slurm",
        "ray": "ray",
    },
    "hydra/sweeper": {"optuna": "search"},
}


def with_values(arguments: Sequence[str]) -> list[str]:
    """The command line's arguments, and the overrides that bring our values of what they name.

    The values, ``conf/hydra/launching`` and ``sweeping``, lie over those of the plugin and below the command line's. A
    file with the plugin's own name could not: Hydra 1.3 warns of it, or refuses it.
    """
    expanded: list[str] = []
    for argument in arguments:
        expanded.append(argument)
        group, _, name = argument.partition("=")
        if name in EXTRAS.get(group, {}):
            expanded.append(f"{group.removesuffix('er')}ing={name}")
    return expanded
