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

    Those of ``conf/hydra/launcher_defaults`` and ``sweeper_defaults`` lie over the plugin's own and
    below what the command line says. Files with the plugins' names in ``conf/hydra`` would bring
    them without this, but Hydra 1.3 warns of such a file, or refuses it.
    """
    expanded: list[str] = []
    for argument in arguments:
        expanded.append(argument)
        group, _, name = argument.partition("=")
        if name in EXTRAS.get(group, {}):
            expanded.append(f"{group}_defaults={name}")
    return expanded
