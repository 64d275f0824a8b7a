"""The same seed and the same number of threads give the same weights, bit for bit."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from orthornn import (
    OrthoRNN,
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    param_groups,
)
from orthornn.init import INITIALIZERS
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

OPTIMIZERS = {
    "sgd": lambda groups: RiemannianSGD(groups, momentum=0.9),
    "sgd, rows": lambda groups: RiemannianSGD(groups, rows=0.5, seed=3),
    "adam": RiemannianAdam,
    "rmsprop": RiemannianRMSprop,
    "muon": RiemannianMuon,
}
HIDDEN = 48


def digest(parameters):
    """The hash of all bits of the parameters, and so a text that a process can print."""
    text = hashlib.sha256()
    for p in parameters:
        text.update(p.detach().numpy().tobytes())
    return text.hexdigest()


def train(optimizer="adam", packed=False, steps=3, **options):
    """What a few steps of a small model make of the weights; the seed is set here."""
    torch.manual_seed(1)
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.5} | options
    rnn = OrthoRNN(3, HIDDEN, **options)
    moves = OPTIMIZERS[optimizer](param_groups(rnn, lr=1e-2))
    for _ in range(steps):
        moves.zero_grad()
        x = torch.randn(12, 40, 3)
        if packed:
            x = pack_sequence([x[: 1 + k % 12, k] for k in range(40)], enforce_sorted=False)
        h = rnn(x)[0]
        (h.data if packed else h).square().mean().backward()
        moves.step()
    return digest(rnn.parameters())


CASES = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"nonlinearity": name} for name in NONLINEARITIES),
    *({"retraction": name} for name in RETRACTIONS),
    *({"init": name} for name in INITIALIZERS),
    {"packed": True},
]


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_again_gives_the_same_bits_by_algorithms_that_torch_calls_deterministic(
    case, deterministic
):
    assert train(**case) == train(**case)


def test_the_weights_are_the_same_without_that_switch(deterministic):
    with_switch = train()
    torch.use_deterministic_algorithms(False)
    assert train() == with_switch


def test_another_seed_gives_other_weights(monkeypatch):
    first = train()
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    assert train() != first


def test_two_threads_give_the_same_bits_each_time():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert train(steps=2) == train(steps=2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_fresh_process_with_another_hash_seed_gives_the_same_bits():
    code = (
        "import warnings; warnings.simplefilter('ignore'); import torch; torch.set_num_threads(1)\n"
        "from tests.optim.test_determinism import train; "
        "print(train(), train(optimizer='sgd, rows'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [train(), train(optimizer="sgd, rows")]
