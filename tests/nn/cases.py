"""The recurrent modules in one table: how each is made, and inputs for it."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from orthornn import OrthoRNN, OrthoRNNCell, ReflectionRNN, SwitchedOrthoRNN


class Case(NamedTuple):
    """A module: what ``make(inputs, hidden_size)`` makes of sizes and options.

    ``inputs`` counts the features of an input, or the tokens to choose from.
    """

    kind: type[nn.Module]
    options: dict[str, Any]

    def __call__(self, inputs=3, hidden_size=5, **options):
        module = self.kind(inputs, hidden_size, **self.options, **options)
        return vary(module)

    @property
    def takes_tokens(self):
        return self.kind is SwitchedOrthoRNN

    @property
    def is_cell(self):
        return self.kind is OrthoRNNCell

    def draw(self, *batch, inputs=3, dtype=torch.float32):
        """An input of shape (T, B), (T,) or (N,), and the axis of features where there is one."""
        if self.takes_tokens:
            return torch.randint(inputs, batch)
        return torch.randn(*batch, inputs, dtype=dtype)

    def draw_state(self, *batch, hidden_size=5, dtype=torch.float32):
        """A state of shape (1, B, H) or (1, H), without the first axis for a cell."""
        return torch.randn(*(() if self.is_cell else (1,)), *batch, hidden_size, dtype=dtype)


@torch.no_grad()
def vary(module):
    """Make what starts from 0, or open, act: shifts other than 0, some gates shut, some open."""
    for name in ("shift", "gate"):
        map = getattr(module, name, None)
        if map is not None:
            for p in map.parameters():
                nn.init.normal_(p)
    if isinstance(getattr(module, "gate", None), nn.Embedding):
        module.gate.weight[0] = -0.3
        module.gate.weight[1] = 0.3
    return module


OPTIONS = {"additive": True, "resets": True}
CASES = {
    "OrthoRNN": Case(OrthoRNN, {}),
    "OrthoRNNCell": Case(OrthoRNNCell, {}),
    "switched": Case(SwitchedOrthoRNN, {}),
    "switched, all options": Case(SwitchedOrthoRNN, {**OPTIONS, "determinant": -1}),
    "switched, reflections": Case(SwitchedOrthoRNN, {**OPTIONS, "reflections": 2}),
    "reflection": Case(ReflectionRNN, {}),
    "reflection, all options": Case(ReflectionRNN, {**OPTIONS, "reflections": 2}),
}
NETWORKS = {name: case for name, case in CASES.items() if not case.is_cell}
TRANSITIONS = {name: case for name, case in NETWORKS.items() if case.kind is not OrthoRNN}
REAL = {name: case for name, case in NETWORKS.items() if not case.takes_tokens}
POINTS = {name: case for name, case in CASES.items() if "reflection" not in name}


def every(cases):
    return pytest.mark.parametrize("make", cases.values(), ids=cases)


every_module = every(CASES)
every_network = every(NETWORKS)  # sequences in, sequences out
every_transition = every(TRANSITIONS)  # chosen by the input
every_real_network = every(REAL)  # of inputs that have derivatives
every_module_with_points = every(POINTS)  # with a recurrent weight on a manifold


def case_of(module):
    """The first row of the table with modules of its class."""
    return next(case for case in CASES.values() if isinstance(module, case.kind))
