"""torch.compile, torch.export, ONNX and torch.jit.trace give what the module gives."""

import copy
import time

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_sequence

from orthornn import (
    OrthoRNN,
    OrthoRNNCell,
    RiemannianAdam,
    RiemannianRMSprop,
    backends,
    param_groups,
)
from orthornn.diagnostics import orthogonality_error
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from tests.nn.cases import TRANSITIONS, Case, every, every_module, every_network, every_transition

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
    # the compiler looks at .grad of what it is given, and PyTorch's own code warns of that
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


LAYERS = Case(OrthoRNN, {"num_layers": 2, "bidirectional": True})
with_layers = every({"OrthoRNN, two layers and directions": LAYERS, **TRANSITIONS})


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


def model(nonlinearity="modrelu"):
    rnn = OrthoRNN(4, 5, 2, nonlinearity, bidirectional=True, dtype=torch.float64)
    return nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), rnn)


def agree(compiled, plain, *inputs, **tolerance):
    """Outputs and gradients of two functions of the same parameters."""
    results = []
    for function in (compiled, plain):
        output, h_n = function(*inputs)
        loss = output.sin().sum() + h_n.cos().sum()
        results.append([output, h_n, *torch.autograd.grad(loss, list(plain.parameters()))])
    torch.testing.assert_close(*results, **tolerance)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
def test_one_graph_whatever_the_length(nonlinearity):
    plain = model(nonlinearity)
    compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")
    for length in (1, 12, 300):
        agree(compiled, plain, torch.randn(length, 2, 3, dtype=torch.float64))


@pytest.mark.sampled(5)
@every_transition
def test_one_graph_of_a_transition_whatever_the_length(make):
    plain = make(3, 5, dtype=torch.float64)
    compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")
    for length in (1, 12, 300):
        agree(compiled, plain, make.draw(length, 2, dtype=torch.float64))


@pytest.mark.parametrize("name", ["c", "eager", "scan"])
def test_a_named_backend_runs_as_it_is_outside_the_graph(name):
    if backends()[name] is not None:
        pytest.skip(backends()[name])
    plain = OrthoRNN(3, 5, nonlinearity="identity", backend=name, dtype=torch.float64)
    compiled = torch.compile(plain, backend="aot_eager")  # whose warnings are errors here
    for length in (12, 30):
        agree(compiled, plain, torch.randn(length, 2, 3, dtype=torch.float64))


@pytest.mark.slow
def test_the_default_compiler_takes_seconds_not_minutes_for_a_thousand_steps():
    plain = model()
    start = time.perf_counter()
    # the compiler rounds the linear layer otherwise, and this start amplifies that a million times
    x = torch.randn(1000, 2, 3, dtype=torch.float64)
    agree(torch.compile(plain), plain, x, rtol=1e-5, atol=1e-5)
    assert time.perf_counter() - start < 60  # unrolled, it takes many minutes


def test_unbatched_and_packed_input_and_cells():
    rnn, cell = OrthoRNN(3, 5, batch_first=True).double(), OrthoRNNCell(3, 5).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), rnn(x))
    torch.testing.assert_close(torch.compile(cell, backend="aot_eager", fullgraph=True)(x), cell(x))
    packed = pack_sequence([x[:2], x, x[:3]], enforce_sorted=False)
    compiled = torch.compile(rnn, backend="aot_eager")
    torch.testing.assert_close(compiled(packed)[0].data, rnn(packed)[0].data)


def test_autocast_and_vmap_inside_a_compiled_function():
    rnn, x = OrthoRNN(3, 5), torch.randn(4, 6, 2, 3)
    compiled = torch.compile(rnn, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(x[0]), rnn(x[0]))
    together = torch.compile(lambda a: torch.vmap(rnn)(a)[0], backend="aot_eager")
    torch.testing.assert_close(together(x), torch.vmap(rnn)(x)[0])


@pytest.mark.parametrize("optimizer", [RiemannianAdam, RiemannianRMSprop])
def test_a_compiled_train_step_equals_the_plain_one(optimizer):
    plain = model()
    other, x = copy.deepcopy(plain), torch.randn(9, 2, 3, dtype=torch.float64)
    for module in (plain, other):
        step = optimizer(param_groups(module, lr=1e-2, lr_ortho=1e-2))

        def train(module=module, step=step):
            step.zero_grad()
            loss = module(x)[0].square().sum()
            loss.backward()
            step.step()
            return loss

        run = torch.compile(train, backend="aot_eager") if module is other else train
        losses = [run().item() for _ in range(4)]
        assert losses[-1] < losses[0]
    torch.testing.assert_close(list(other.parameters()), list(plain.parameters()))
    assert orthogonality_error(other) < 1e-12


@pytest.mark.each_value_once
@pytest.mark.parametrize("strict", [False, True])
@with_layers
def test_export_of_a_fixed_length_in_torch_s_own_operations(make, strict):
    rnn, x = make(3, 5), make.draw(6, 4)
    batch = torch.export.Dim("batch")
    program = torch.export.export(rnn, (x,), dynamic_shapes=({1: batch},), strict=strict)
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("orthornn" in name for name in names)
    more = make.draw(6, 7)
    torch.testing.assert_close(program.module()(more), rnn(more))


@every_network
def test_export_as_one_operator_leaves_the_length_open(make):
    rnn = make(3, 5, backend="custom_op")
    time_axis = torch.export.Dim("time")
    program = torch.export.export(rnn, (make.draw(6, 4),), dynamic_shapes=({0: time_axis},))
    more = make.draw(11, 4)
    torch.testing.assert_close(program.module()(more), rnn(more))


@pytest.mark.sampled(5)
@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
def test_onnx_runs_elsewhere(nonlinearity, tmp_path):
    rnn = OrthoRNN(3, 5, 2, nonlinearity, bidirectional=True).eval()
    inputs = (torch.randn(6, 2, 3), torch.randn(4, 2, 5))
    agree_as_onnx(rnn, inputs, tmp_path)


@pytest.mark.sampled(5)
@every_transition
def test_onnx_of_a_transition_runs_elsewhere(make, tmp_path):
    agree_as_onnx(make(3, 5).eval(), (make.draw(6, 2), make.draw_state(2)), tmp_path)


def agree_as_onnx(rnn, inputs, tmp_path):
    torch.onnx.export(rnn, inputs, tmp_path / "rnn.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "rnn.onnx")
    names = [given.name for given in session.get_inputs()]
    found = session.run(None, {n: a.numpy() for n, a in zip(names, inputs, strict=True)})
    for a, b in zip(found, rnn(*inputs), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-5)


@every_module
def test_symbolic_tracing_sees_one_call(make):
    plain, x = nn.Sequential(nn.Identity(), make(3, 5)), make.draw(6)
    traced = torch.fx.symbolic_trace(plain)
    assert [node.op for node in traced.graph.nodes].count("call_module") == 2
    torch.testing.assert_close(traced(x), plain(x))

    class WithState(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = make(3, 5)

        def forward(self, x, h):
            return self.recurrent(x, hx=h)

    plain, h = WithState(), make.draw_state(*([6] if make.is_cell else []))
    torch.testing.assert_close(torch.fx.symbolic_trace(plain)(x, h), plain(x, h))
    with pytest.raises(torch.fx.proxy.TraceError, match="a module that contains it"):
        torch.fx.symbolic_trace(make(3, 5))


@pytest.mark.sampled(2)
@every_module
def test_make_fx_records_torch_s_own_operations(make):
    module, batch = make(3, 5, dtype=torch.float64), [2] if make.is_cell else [4, 2]
    x, more = (make.draw(*batch, dtype=torch.float64) for _ in range(2))
    h = make.draw_state(2, dtype=torch.float64)

    def function(x, h):
        return module(x, h)[0]

    graph = make_fx(function)(x, h)
    assert not any("orthornn" in str(node.target) for node in graph.graph.nodes)
    torch.testing.assert_close(graph(more, 2 * h), function(more, 2 * h))
    tangent = torch.func.linearize(lambda h: function(x, h), h)[1](h)
    torch.testing.assert_close(tangent, torch.func.jvp(lambda h: function(x, h), (h,), (h,))[1])


@with_layers
def test_tracing_by_jit(make):
    rnn = make(3, 5)
    traced, more = torch.jit.trace(rnn, (make.draw(6, 2),)), make.draw(6, 2)
    torch.testing.assert_close(traced(more), rnn(more))
