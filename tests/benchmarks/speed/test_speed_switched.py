"""The speed benchmark of switched layers: which rows there are, and what runs in each."""

import pytest
import torch

from benchmarks.speed.cases import switched
from benchmarks.speed.table import SpeedPlan
from orthornn.recurrence import SWITCHED

PLAN = SpeedPlan(torch.device("cpu"), sizes=None, quick=True, threads=1, repeats=2)


@pytest.mark.parametrize("tables", [switched.matrix_tables, switched.reflection_tables])
def test_a_switched_layer_has_a_row_for_every_backend_that_runs_here(tables, monkeypatch):
    ran = []

    def run(inputs, kind, backend):
        ran.append(backend)
        return real(inputs, kind, backend)

    real = SWITCHED.run
    monkeypatch.setattr(SWITCHED, "run", run)
    available = {name for name in SWITCHED.backends if SWITCHED.unavailable(name) is None}
    for compared in tables(PLAN):
        ran.clear()
        for make in compared.candidates.values():
            make()()
        assert len(compared.candidates) == len(compared.own) + 1  # an LSTM
        assert len(ran) == len(compared.own)
        assert set(ran) == available | {"autograd"}
