"""Reduction of a switched network: the smaller one computes the same, or there is no gap."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from orthornn import SwitchedOrthoRNN, haar_, reduce

PERMUTATIONS = sorted(itertools.permutations(range(4)))


def permutation_matrices():
    """Those of S_4 on the hyperplane of sum 0, where they are irreducible, of size 3."""
    basis = torch.linalg.qr(torch.randn(4, 4).double().index_fill(1, torch.tensor([0]), 1.0))[0]
    matrices = torch.stack([torch.eye(4).double()[list(p)].mT for p in PERMUTATIONS])
    return basis[:, 1:].mT @ matrices @ basis[:, 1:]


def embedded(extra, noise=0.0, **options):
    """A network of 3 + ``extra`` dimensions; its states use 3 of them, in a random direction."""
    small = permutation_matrices()
    H = 3 + extra
    turn = haar_(torch.empty(H, H, dtype=torch.float64))
    whole = haar_(torch.empty(len(small), H, H, dtype=torch.float64))
    whole[:, :3, 3:] = whole[:, 3:, :3] = 0
    whole[:, :3, :3] = small
    whole[:, 3:, 3:] = haar_(torch.empty(len(small), extra, extra, dtype=torch.float64))
    whole = whole @ torch.linalg.matrix_exp(noise * skew(torch.randn(len(small), H, H).double()))
    rnn = SwitchedOrthoRNN(len(small), H, dtype=torch.float64, **options)
    with torch.no_grad():
        rnn.weight_hh.copy_(turn @ whole @ turn.mT)
        rnn.initial_state.copy_(turn[:, :3] @ torch.randn(3).double())
    return rnn, turn


def skew(a):
    return a - a.mT


@pytest.mark.parametrize("extra", [1, 5])
def test_the_smaller_network_gives_the_same_answers(extra):
    rnn, turn = embedded(extra)
    readout = nn.Linear(3 + extra, 24, dtype=torch.float64)
    words = torch.randint(24, (40, 8))
    reduced = reduce(rnn, words)
    assert reduced.module.hidden_size == 3
    assert reduced.defect < 1e-12
    projector = reduced.basis @ reduced.basis.mT
    torch.testing.assert_close(projector, turn[:, :3] @ turn[:, :3].mT)
    torch.testing.assert_close(reduced.spectrum.sum(), torch.ones(()).double())
    other = torch.randint(24, (300, 5))
    expected = readout(rnn(other)[0])
    torch.testing.assert_close(reduced.fold(readout)(reduced.module(other)[0]), expected)


def test_resets_and_added_vectors_are_carried_over():
    rnn, turn = embedded(4, resets=True, additive=True)
    with torch.no_grad():
        for map in (rnn.shift, rnn.reset):
            map.weight.copy_(torch.randn(24, 3).double() @ turn[:, :3].mT)
        rnn.gate.weight[::3] = -1
    readout = nn.Linear(7, 24, bias=False, dtype=torch.float64)
    reduced = reduce(rnn, torch.randint(24, (60, 8)))
    assert reduced.module.hidden_size == 3
    other = torch.randint(24, (50, 5))
    torch.testing.assert_close(
        reduced.fold(readout)(reduced.module(other)[0]), readout(rnn(other)[0])
    )


def test_a_learned_network_is_a_little_off_and_its_matrices_orthogonal_all_the_same():
    rnn, _ = embedded(4, noise=1e-3)
    reduced = reduce(rnn, torch.randint(24, (60, 8)))
    assert reduced.module.hidden_size == 3
    assert 1e-6 < reduced.defect < 1e-2
    w = reduced.module.matrices()
    torch.testing.assert_close(w.mT @ w, torch.eye(3).double().expand_as(w))


def test_reflections_become_matrices():
    rnn = SwitchedOrthoRNN(4, 5, reflections=2, dtype=torch.float64)
    with torch.no_grad():  # which leave all but the plane of the first two coordinates
        rnn.vectors.weight.view(4, 2, 5)[..., 2:] = 0
        rnn.initial_state[2:] = 0
    words = torch.randint(4, (60, 3))
    reduced = reduce(rnn, words)
    assert (reduced.module.hidden_size, reduced.module.reflections) == (2, None)
    torch.testing.assert_close(reduced.module(words)[0] @ reduced.basis.mT, rnn(words)[0])


def test_without_a_gap_it_is_refused_with_the_spectrum():
    rnn = SwitchedOrthoRNN(24, 6)
    with pytest.raises(ValueError, match=r"a gap of at least 5 .* got none: 0\.\d+, 0\.\d+"):
        reduce(rnn, torch.randint(24, (400, 8)))
    whole, _ = embedded(0)
    with pytest.raises(ValueError, match="got none"):
        reduce(whole, torch.randint(24, (400, 8)))


def test_what_is_no_such_network_is_refused():
    with pytest.raises(TypeError, match="expects a SwitchedOrthoRNN, got LSTM"):
        reduce(nn.LSTM(2, 3), torch.zeros(3, 1))
    rnn, _ = embedded(2)
    reduced = reduce(rnn, torch.randint(24, (60, 8)))
    with pytest.raises(ValueError, match="a readout of 5 features, got 3"):
        reduced.fold(nn.Linear(3, 2))


def test_packed_words_do_as_well():
    rnn, _ = embedded(3)
    words = torch.randint(24, (40, 4))
    packed = pack_padded_sequence(words, [40, 30, 30, 2])
    reduced, dense = reduce(rnn, packed), reduce(rnn, words)
    projectors = (a.basis @ a.basis.mT for a in (reduced, dense))
    torch.testing.assert_close(*projectors)


def test_too_few_words_show_no_gap_that_is_none():
    rnn, _ = embedded(3)
    for words in (torch.randint(24, (5, 0)), torch.randint(24, (3, 4))):
        with pytest.raises(ValueError, match=r"at least 60 tokens in all, got (0|12)"):
            reduce(rnn, words)
    with torch.no_grad():
        rnn.initial_state.zero_()
    with pytest.raises(ValueError, match=r"got none: 0, 0"):
        reduce(rnn, torch.randint(24, (40, 4)))


@pytest.mark.parametrize(
    "options", [{"threshold": 2}, {"threshold": 0}, {"min_gap": float("nan")}, {"min_gap": 0.5}]
)
def test_options_out_of_range_are_refused(options):
    rnn, _ = embedded(3)
    with pytest.raises(ValueError, match="0 < threshold < 1 and a finite min_gap >= 1, got"):
        reduce(rnn, torch.randint(24, (40, 4)), **options)
