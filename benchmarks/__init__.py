"""Benchmarks that compare OrthoRNN with RNN, LSTM and GRU; run as ``python -m benchmarks.copy``."""

from importlib.util import find_spec

_missing = [n for n in ("hydra", "matplotlib", "pydantic", "tqdm", "wandb") if find_spec(n) is None]
if _missing:
    raise ModuleNotFoundError(
        f"the benchmarks need {', '.join(_missing)}: "
        'pip install -c constraints.txt -e ".[bench]" installs them'
    )
