"""The switched recurrence in C: every size, width of vectors and number of threads."""

import functools
import re

import pytest
import torch
from torch.nn.functional import normalize

from orthornn.init import haar_
from orthornn.recurrence.cpu import compiler
from orthornn.recurrence.switched import compiled
from orthornn.recurrence.switched.inputs import MATRIX, REFLECTIONS, Gradients, Inputs, Kind, Needed

pytestmark = pytest.mark.skipif(
    compiled.unavailable() is not None, reason=str(compiled.unavailable())
)
SIZES = [1, 3, 4, 8, 13, 16, 64, 70]
BATCH_SIZES = torch.tensor([5, 5, 4, 4, 4, 2, 1, 1, 1])
TRANSITIONS = [MATRIX, "1 reflection", "3 reflections", "n reflections"]


def build(dtype, processor):
    """The code for another processor than this one, of those that it can stand for."""

    @functools.cache
    def make():
        if processor is None:
            return compiled.load_kernel(dtype)
        if not re.search("#define __x86_64__", compiler.macros()):
            pytest.skip("vectors of other widths are built for x86-64")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiler, "NATIVE", f"-march={processor}")
            compiler.compiler.cache_clear()
            try:
                return compiled.load_kernel.__wrapped__(dtype)
            finally:
                patch.undo()
                compiler.compiler.cache_clear()

    return make


BUILDS = {
    "float32": (torch.float32, build(torch.float32, None)),
    "float64": (torch.float64, build(torch.float64, None)),
    "float32, AVX2": (torch.float32, build(torch.float32, "haswell")),
    "float64, AVX2": (torch.float64, build(torch.float64, "haswell")),
    "float32, SSE2": (torch.float32, build(torch.float32, "x86-64")),
    "float64, SSE2": (torch.float64, build(torch.float64, "x86-64")),
}


@pytest.fixture(params=sorted(BUILDS))
def dtype(request, monkeypatch):
    """A dtype, with the code that runs it."""
    dtype, make = BUILDS[request.param]
    try:
        made = make()
    except compiler.CannotCompile as error:
        pytest.skip(str(error))
    monkeypatch.setattr(compiled, "load_kernel", lambda dtype: made)
    return dtype


def use_threads(monkeypatch, number):
    monkeypatch.setattr(compiled, "OPERATIONS_PER_THREAD", 1e-9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)


def problem(n, dtype, transition=MATRIX, *, T=9, B=5, V=7, gate=True, shift=True, batch_sizes=None):
    """Inputs whose gates are 0, 1 or between them, and their kind."""
    rows = (T, B) if batch_sizes is None else (int(batch_sizes.sum()),)
    kind = Kind(MATRIX if transition == MATRIX else REFLECTIONS, batch_sizes)
    if transition == MATRIX:
        weight = haar_(torch.empty(V, n, n, dtype=dtype))
    else:
        k = n if transition == "n reflections" else int(transition[0])
        weight = normalize(torch.randn(V, k, n, dtype=dtype), dim=-1)
    a = torch.rand(V, dtype=dtype) if gate else None
    if a is not None:
        a[::3], a[1::3] = 0, 1
    b = torch.randn(V, n, dtype=dtype) if shift else None
    tokens, h0 = torch.randint(V, rows), torch.randn(B, n, dtype=dtype)
    return Inputs(tokens, h0, weight, a, b), kind


def loop(inputs, kind):
    """The states, step by step under autograd."""
    sizes, h, states = kind.batch_sizes, inputs.h0, []
    for x in inputs.tokens if sizes is None else inputs.tokens.split(sizes.tolist()):
        h, m = h[: len(x), :, None], inputs.weight[x]
        if kind.transition == MATRIX:
            h = m @ h
        else:
            for v in m.unsqueeze(-1).unbind(1):
                h = h - 2 * v * (v * h).sum(1, keepdim=True)
        h = h[..., 0] if inputs.gate is None else inputs.gate[x, None] * h[..., 0]
        h = h if inputs.shift is None else h + inputs.shift[x]
        states.append(h)
    return torch.stack(states) if sizes is None else torch.cat(states)


def loop_results(inputs, kind, grad):
    """Of the loop in double precision: states and gradients."""
    tensors = [a if a is None else a.double().requires_grad_() for a in inputs[1:]]
    states = loop(Inputs(inputs.tokens, *tensors), kind)
    leaves = [a for a in tensors if a is not None]
    made = iter(torch.autograd.grad(states, leaves, grad.double(), materialize_grads=True))
    return states.detach(), Gradients(None, *(a if a is None else next(made) for a in tensors))


def results(inputs, kind, grad):
    states = compiled.forward(inputs, kind)
    needed = Needed(False, *(a is not None for a in inputs[1:]))
    return states, compiled.backward(grad, inputs, states, kind, needed)


def check(inputs, kind, tolerance):
    """States and gradients are those of the loop."""
    grad = torch.randn(inputs.states_shape, dtype=inputs.h0.dtype)
    (states, gradients), (right, exact) = (f(inputs, kind, grad) for f in (results, loop_results))
    assert (states - right).abs().max() <= tolerance * (1 + right.abs().max())
    for name, a, b in zip(Gradients._fields, gradients, exact, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.shape == b.shape
            assert a.dtype == grad.dtype
            assert (a - b).norm() <= tolerance * (b.norm() + b.numel() ** 0.5), name


@pytest.mark.each_value_once
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("transition", TRANSITIONS)
@pytest.mark.parametrize("batch_sizes", [None, BATCH_SIZES], ids=["dense", "packed"])
def test_states_and_gradients_are_those_of_a_loop(dtype, n, transition, batch_sizes):
    tolerance = 30 * (1 + n**0.5) * torch.finfo(dtype).eps
    check(*problem(n, dtype, transition, batch_sizes=batch_sizes), tolerance)


@pytest.mark.parametrize("n", [3, 8, 70])
@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("V", [1, 2, 300])
def test_with_and_without_a_gate_and_a_shift_few_tokens_and_many(n, transition, gate, shift, V):
    check(*problem(n, torch.float64, transition, V=V, gate=gate, shift=shift), 1e-13)


@pytest.mark.parametrize("n", [4, 13, 70])
@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
def test_a_single_step_and_a_single_sequence(dtype, n, transition):
    check(*problem(n, dtype, transition, T=1), 300 * torch.finfo(dtype).eps)
    check(*problem(n, dtype, transition, B=1), 300 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("n", [8, 64])
@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
def test_float32_is_right_after_4096_steps(n, transition):
    inputs, kind = problem(n, torch.float32, transition, T=4096, B=2, gate=False, shift=False)
    inputs = inputs._replace(h0=normalize(inputs.h0, dim=-1))
    double = inputs._replace(h0=inputs.h0.double(), weight=inputs.weight.double())
    states = compiled.forward(inputs, kind)
    assert (states - loop(double, kind)).abs().max() < 1e-5
    check(inputs, kind, 1e-5)


@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
@pytest.mark.parametrize("batch_sizes", [None, BATCH_SIZES.repeat_interleave(300)])
def test_a_long_pass_is_that_of_its_chunks(transition, batch_sizes):
    """Sums of a token run over several chunks of time, and over many positions in each."""
    check(*problem(70, torch.float64, transition, T=600, V=3, batch_sizes=batch_sizes), 1e-12)


@pytest.mark.parametrize("n", [3, 8, 70])
@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
def test_a_table_with_one_row_for_each_step(dtype, n, transition):
    inputs, kind = problem(n, dtype, transition, V=45)
    check(inputs._replace(tokens=torch.arange(45).view(9, 5)), kind, 300 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("batch_sizes", [None, BATCH_SIZES], ids=["dense", "packed"])
@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
@pytest.mark.parametrize("V", [2, 300])
@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_change_no_number(batch_sizes, transition, V, threads, monkeypatch):
    inputs, kind = problem(13, torch.float32, transition, V=V, batch_sizes=batch_sizes)
    grad = torch.randn(inputs.states_shape)
    alone = results(inputs, kind, grad)
    use_threads(monkeypatch, threads)
    torch.testing.assert_close(results(inputs, kind, grad), alone, rtol=0, atol=0)


@pytest.mark.parametrize("transition", [MATRIX, "3 reflections"])
def test_threads_change_no_number_in_any_chunk(transition, monkeypatch):
    inputs, kind = problem(70, torch.float32, transition, T=600)
    grad = torch.randn(inputs.states_shape)
    alone = results(inputs, kind, grad)
    use_threads(monkeypatch, 3)
    torch.testing.assert_close(results(inputs, kind, grad), alone, rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["batch first", "strided", "one number", "one row", "no time"])
@pytest.mark.parametrize("n", [1, 8, 13])
def test_the_layout_of_inputs_and_gradient_does_not_show(layout, n):
    inputs, kind = problem(n, torch.float64)
    g = torch.randn(inputs.states_shape, dtype=torch.float64)
    if layout == "batch first":
        tokens, grad = (a.transpose(0, 1).contiguous().transpose(0, 1) for a in (inputs.tokens, g))
        strided = inputs._replace(tokens=tokens, weight=inputs.weight.mT.contiguous().mT)
    elif layout == "strided":
        grad, *tensors = (a.repeat_interleave(2, -1)[..., ::2] for a in (g, *inputs))
        strided = Inputs(*tensors)
    else:
        kept = {"one number": g[:1, :1, :1], "one row": g[:1, :1], "no time": g[:1]}[layout]
        strided, grad = inputs._replace(h0=inputs.h0[:1].expand(5, n)), kept.expand_as(g)
        inputs = strided._replace(h0=strided.h0.contiguous())
    torch.testing.assert_close(
        results(strided, kind, grad), results(inputs, kind, grad.contiguous()), rtol=0, atol=0
    )


def test_the_layout_of_a_packed_gradient_does_not_show():
    inputs, kind = problem(8, torch.float64, batch_sizes=BATCH_SIZES)
    g = torch.randn(8, len(inputs.tokens), dtype=torch.float64).t()
    expected = results(inputs, kind, g.contiguous())
    torch.testing.assert_close(results(inputs, kind, g), expected, rtol=0, atol=0)


@pytest.mark.parametrize("needed", Needed._fields[1:])
def test_a_gradient_alone_is_that_among_others(needed):
    inputs, kind = problem(8, torch.float64)
    grad = torch.randn(inputs.states_shape, dtype=torch.float64)
    states, gradients = results(inputs, kind, grad)
    alone = compiled.backward(grad, inputs, states, kind, Needed(**{needed: True}))
    expected = Gradients(**{needed: getattr(gradients, needed)})
    torch.testing.assert_close(alone, expected, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("n", [4, 13])
@pytest.mark.parametrize("transition", [MATRIX, "1 reflection"])
@pytest.mark.parametrize("gate", [False, True])
def test_what_is_not_finite_is_what_torch_makes_of_it(bad, n, transition, gate):
    inputs, kind = problem(n, torch.float32, transition, gate=gate, shift=False)
    inputs.h0[1, 0] = bad
    grad = torch.randn(inputs.states_shape)
    grad[5, 2, 1] = bad
    tensors = [a if a is None else a.clone().requires_grad_() for a in inputs[1:]]
    expected = loop(Inputs(inputs.tokens, *tensors), kind)
    states = compiled.forward(inputs, kind)
    torch.testing.assert_close(states, expected, equal_nan=True, rtol=1e-4, atol=1e-4)
    dh0 = compiled.backward(grad, inputs, states, kind, Needed(h0=True)).h0
    exact = torch.autograd.grad(expected, tensors[0], grad)[0]
    torch.testing.assert_close(dh0, exact, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [-1, 7, 2**62])
def test_a_token_without_a_row_is_refused(bad):
    inputs, kind = problem(8, torch.float32)
    states = compiled.forward(inputs, kind)
    inputs.tokens[4, 3] = bad
    message = rf"tokens must be in \[0, 7\), got some in \[.*{bad}.*\]"
    with pytest.raises(IndexError, match=message):
        compiled.forward(inputs, kind)
    with pytest.raises(IndexError, match=message):
        compiled.backward(states, inputs, states, kind, Needed(weight=True))


def test_the_fields_of_a_call_are_those_of_the_source():
    source = compiled.load_kernel(torch.float32).source.with_name("switched_call.h")
    text = re.sub(r"/\*.*?\*/", "", source.read_text(encoding="utf-8"), flags=re.S)
    body = re.search(r"typedef struct \{([^}]*)\} Call;", text)[1]
    names = [
        name.strip(" *")
        for line in body.split(";")
        for name in re.sub(r"^\s*(const )?\w+ ", "", line).split(",")
    ]
    assert [name for name in names if name.strip()] == [a for a, _ in compiled._Call._fields_]


def test_its_memory_is_that_of_the_gradients():
    """A pass allocates what it returns, and little more, though every step has a row of its own."""
    inputs, kind = problem(16, torch.float32, T=500, B=16, V=8000, gate=False, shift=False)
    states, needed = compiled.forward(inputs, kind), Needed(weight=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        gradients = compiled.backward(states, inputs, states, kind, needed)
    allocated = sum(max(0, e.self_cpu_memory_usage) for e in profile.key_averages())
    assert allocated < 1.1 * gradients.weight.nbytes
