"""Packed sequences: torch.nn.RNN on the same, and every sequence on its own."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, unpack_sequence

from orthornn import OrthoRNN
from orthornn.nn.packing import last_states, packed_layout, reverse
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from tests.nn.cases import every_network, every_transition
from tests.peers import every_layer, every_length, h0_of, packed, pair


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("given_h0", [False, True])
@every_length
def test_output_state_and_gradients_equal_torch(
    nonlinearity, num_layers, bidirectional, given_h0, lengths
):
    ours, theirs = pair(nonlinearity, num_layers=num_layers, bidirectional=bidirectional)
    x = packed(lengths)
    h0 = h0_of(ours, len(lengths)).requires_grad_() if given_h0 else None
    results = []
    for module in (ours, theirs):
        output, h_n = module(x) if h0 is None else module(x, h0)
        assert isinstance(output, PackedSequence)
        inputs = [x.data, *module.parameters(), *([h0] if given_h0 else [])]
        loss = output.data.sin().sum() + h_n.cos().sum()
        results.append([*output, h_n, *torch.autograd.grad(loss, inputs)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
@pytest.mark.parametrize("backend", [None, "autograd", "custom_op"])
@every_length
def test_every_sequence_runs_as_if_alone(nonlinearity, backend, lengths):
    rnn = OrthoRNN(3, 5, 2, nonlinearity, bidirectional=True, dtype=torch.float64, backend=backend)
    x, h0 = packed(lengths), h0_of(rnn, len(lengths))
    output, h_n = rnn(x, h0)
    for i, (sequence, found) in enumerate(
        zip(unpack_sequence(x), unpack_sequence(output), strict=True)
    ):
        alone, state = rnn(sequence, h0[:, i])
        torch.testing.assert_close(found, alone)
        torch.testing.assert_close(h_n[:, i], state)


def pack(make, lengths, **options):
    sequences = [make.draw(n, dtype=torch.float64) for n in lengths]
    return pack_sequence(sequences, **options), sequences


@every_network
@every_length
@pytest.mark.parametrize("given_state", [False, True])
def test_every_sequence_of_a_network_runs_as_if_alone(make, lengths, given_state):
    module = make(3, 5, dtype=torch.float64)
    x, sequences = pack(make, lengths, enforce_sorted=False)
    states = make.draw_state(len(lengths), dtype=torch.float64)
    output, h_n = module(x, states) if given_state else module(x)
    assert isinstance(output, PackedSequence)
    loss, losses = output.data.sin().sum() + h_n.cos().sum(), []
    for i, (sequence, outputs) in enumerate(zip(sequences, unpack_sequence(output), strict=True)):
        alone, state = module(sequence, states[:, i]) if given_state else module(sequence)
        torch.testing.assert_close(outputs, alone)
        torch.testing.assert_close(h_n[:, i], state)
        losses.append(alone.sin().sum() + state.cos().sum())
    torch.testing.assert_close(
        *(
            torch.autograd.grad(a, list(module.parameters()), materialize_grads=True)
            for a in (loss, sum(losses))
        )
    )


@every_transition
@pytest.mark.parametrize("batch_first", [False, True])
def test_sorted_and_unsorted_input_of_a_transition(make, batch_first):
    module, order = make(3, 5, batch_first=batch_first, dtype=torch.float64), [2, 0, 3, 1]
    falling, sequences = pack(make, (6, 4, 4, 1))
    shuffled = pack_sequence([sequences[i] for i in order], enforce_sorted=False)
    (output, h_n), (other, state) = module(falling), module(shuffled)
    assert output.sorted_indices is None
    torch.testing.assert_close(state, h_n[:, order])
    torch.testing.assert_close(unpack_sequence(other), [unpack_sequence(output)[i] for i in order])


@every_transition
def test_wrong_packed_inputs_of_a_transition_are_refused(make):
    module, sizes = make(3, 5), torch.tensor([3, 1, 1])
    for data, state, error, match in (
        (make.draw(5, 1), None, ValueError, "Expected input to be .D, got .D"),
        (make.draw(5), torch.zeros(2, 3, 5), RuntimeError, r"Expected hidden size \(1, 3, 5\)"),
        (make.draw(5), torch.zeros(1, 3, 4), RuntimeError, r"Expected hidden size \(1, 3, 5\)"),
        (make.draw(5), torch.zeros(3, 5), RuntimeError, r"Expected hidden size \(1, 3, 5\)"),
        (make.draw(5), torch.zeros(1, 3, 5).double(), RuntimeError, "must have the type"),
        (make.draw(4), None, RuntimeError, "expected 5 packed rows.* got 4"),
        (make.draw(6), None, RuntimeError, "expected 5 packed rows.* got 6"),
    ):
        with pytest.raises(error, match=match):
            module(PackedSequence(data, sizes), state)


def test_a_batch_of_equal_lengths_is_the_dense_one():
    rnn = OrthoRNN(3, 5, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(40, 6, 3, dtype=torch.float64)
    output, h_n = rnn(pack_padded_sequence(x, [40] * 6))
    dense, state = rnn(x)
    torch.testing.assert_close(output.data, dense.flatten(0, 1))
    torch.testing.assert_close(h_n, state)


@every_layer
@pytest.mark.parametrize("batch_first", [False, True])
def test_sorted_and_unsorted_input_in_either_axis_order(make, batch_first):
    module = make(3, 5, batch_first=batch_first)
    falling = [torch.randn(n, 3) for n in (6, 4, 4, 1)]
    order = [2, 0, 3, 1]
    output, h_n = module(pack_sequence(falling))
    shuffled, state = module(pack_sequence([falling[i] for i in order], enforce_sorted=False))
    assert output.sorted_indices is None
    torch.testing.assert_close(state, h_n[:, order])
    for i, found in zip(order, unpack_sequence(shuffled), strict=True):
        torch.testing.assert_close(found, unpack_sequence(output)[i])


def test_dropout_of_one_seed_equals_torch():
    ours, theirs = pair(num_layers=2, dropout=0.4)
    x, results = packed([3, 6, 2]), []
    for module in (ours, theirs):
        torch.manual_seed(1)
        results.append(module(x)[0].data)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("rows", [1, 2, 4, 6])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_a_state_of_another_batch_is_refused(rows, enforce_sorted):
    x = pack_sequence([torch.randn(n, 3) for n in (5, 3, 2)], enforce_sorted=enforce_sorted)
    h0 = torch.randn(1, rows, 5)
    with pytest.raises(RuntimeError, match=rf"Expected hidden size \(1, 3, 5\), got \[1, {rows}"):
        OrthoRNN(3, 5)(x, h0)
    if enforce_sorted or rows < 3:  # else torch.nn.RNN takes it in silence
        with pytest.raises(RuntimeError):
            nn.RNN(3, 5)(x, h0)


@every_layer
@pytest.mark.parametrize(
    ("error", "data", "h0"),
    [
        (ValueError, torch.zeros(5, 3, dtype=torch.float64), None),
        (RuntimeError, torch.zeros(5, 4), None),
        (RuntimeError, torch.zeros(5, 3), torch.zeros(2, 3, 5)),
        (RuntimeError, torch.zeros(5, 3), torch.zeros(1, 3, 4)),
        (RuntimeError, torch.zeros(5, 3), torch.zeros(3, 5)),
        (RuntimeError, torch.zeros(5, 3), torch.zeros(1, 3, 5, dtype=torch.float64)),
    ],
    ids=["dtype", "features", "layers", "hidden", "2D h0", "h0 dtype"],
)
def test_wrong_inputs_are_refused(make, error, data, h0):
    x = PackedSequence(data, torch.tensor([3, 1, 1]))
    with pytest.raises(error):
        make(3, 5)(x, h0)


@every_network
@pytest.mark.parametrize("sizes", [[1, 2], [2, 1, 0]], ids=str)
def test_batch_sizes_that_no_packing_gives_are_refused(make, sizes):
    x = PackedSequence(make.draw(3), torch.tensor(sizes))
    with pytest.raises(
        RuntimeError, match=rf"expected batch_sizes that fall.*{sizes[0]}, {sizes[1]}"
    ):
        make(3, 5)(x)


@every_layer
@pytest.mark.parametrize("rows", [5, 8])
def test_rows_that_the_batch_sizes_do_not_count(make, rows):
    x = PackedSequence(torch.randn(rows, 3), torch.tensor([3, 3]))
    module = make(3, 5)
    if rows > 6 and isinstance(module, nn.RNN):
        assert len(module(x)[0].data) == 6
        return
    with pytest.raises(RuntimeError):
        module(x)


@every_network
def test_packed_input_does_not_mind_the_default_device(make):
    rnn, x = make(3, 5), pack_sequence([make.draw(2), make.draw(4)], enforce_sorted=False)
    expected = rnn(x)[1]
    with torch.device("meta"):
        found = rnn(x)[1]
    assert torch.equal(found, expected)


@every_length
def test_layout_against_a_loop_over_sequences(lengths):
    sequences = [torch.randn(n, 2) for n in sorted(lengths, reverse=True)]
    x = pack_sequence(sequences)
    layout = packed_layout(x.batch_sizes, x.data)
    mirrored = pack_sequence([s.flip(0) for s in sequences])
    assert torch.equal(reverse(x.data, layout), mirrored.data)
    assert torch.equal(last_states(x.data, layout), torch.stack([s[-1] for s in sequences]))
