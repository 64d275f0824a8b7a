"""Benchmarks that compare OrthoRNN with other recurrent networks: ``python -m benchmarks.copy``."""

from importlib.util import find_spec

_NEEDED = (
    "filelock",
    "hydra",
    "jinja2",
    "matplotlib",
    "numpy",
    "pooch",
    "pydantic",
    "scipy",
    "sklearn",
    "tqdm",
    "wandb",
)
_missing = [name for name in _NEEDED if find_spec(name) is None]
if _missing:
    raise ModuleNotFoundError(
        f"the benchmarks need {', '.join(_missing)}: "
        'pip install -c constraints.txt -e ".[bench]" installs them'
    )
