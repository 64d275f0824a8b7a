"""The recurrence in C: every product, width of vectors and number of threads, step by step."""

import functools
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, backends, haar_
from orthornn.recurrence import ELMAN
from orthornn.recurrence.cpu import compiler
from orthornn.recurrence.elman import compiled, eager, kernel
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

pytestmark = pytest.mark.skipif(backends()["c"] is not None, reason=str(backends()["c"]))
every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))


def build(dtype, product, processor):
    """A kernel for another processor than this one, of those that it can stand for."""

    @functools.cache
    def make():
        if processor is None:
            return kernel.load_kernel(dtype, product)
        if not re.search("#define __x86_64__", compiler.macros()):
            pytest.skip("vectors of other widths are built for x86-64")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiler, "NATIVE", f"-march={processor}")
            compiler.compiler.cache_clear()
            try:
                return kernel.CompiledKernel(dtype, product)
            finally:
                patch.undo()
                compiler.compiler.cache_clear()

    return make


BUILDS = {
    "AMX": build(torch.float32, kernel.AMX, None),
    "float32": build(torch.float32, kernel.VECTOR, None),
    "float64": build(torch.float64, kernel.VECTOR, None),
    "float32, AVX2": build(torch.float32, kernel.VECTOR, "haswell"),
    "float64, AVX2": build(torch.float64, kernel.VECTOR, "haswell"),
    "float32, SSE2": build(torch.float32, kernel.VECTOR, "x86-64"),
}


@pytest.fixture(params=BUILDS.values(), ids=BUILDS)
def built(request, monkeypatch):
    try:
        made = request.param()
    except compiler.CannotCompile as error:
        pytest.skip(str(error))
    monkeypatch.setattr(compiled, "load_kernel", lambda dtype, product=None: made)
    return made


def problem(T, B, I, H, nonlinearity, dtype, sizes=None):
    rows = (T, B) if sizes is None else (int(sizes.sum()),)
    x, h0 = torch.randn(*rows, I, dtype=dtype), torch.randn(B, H, dtype=dtype)
    w, v = haar_(torch.empty(H, H, dtype=dtype)), torch.randn(H, I, dtype=dtype) / I**0.5
    c = torch.randn(H, dtype=dtype)
    b = -torch.rand(H, dtype=dtype) / 4 if nonlinearity == "modrelu" else None
    return Inputs(x, h0, w, v, c, b)


def double(inputs):
    return Inputs(*(None if a is None else a.double() for a in inputs))


def check_steps(inputs, states, nonlinearity, eps, sizes=None):
    """Each state is s(W h + V x + c) of the state before it, whatever came before."""
    inputs, states = double(inputs), states.double()
    before = inputs.h0.unsqueeze(0)
    if sizes is None:
        before = torch.cat([before, states[:-1]])
    else:
        chain = [inputs.h0, *states.split(sizes.tolist())]
        before = torch.cat([a[: len(b)] for a, b in pairwise(chain)]).unsqueeze(0)
    x, before = inputs.x.flatten(0, -2), before.flatten(0, -2)
    one_step = inputs._replace(x=x.unsqueeze(0), h0=before)
    expected = eager.forward(one_step, Kind(nonlinearity)).view_as(states)
    size = before.norm(dim=-1).max() + x.norm(dim=-1).max() * inputs.w_ih.norm() + 4
    assert (states - expected).abs().max() <= 8 * eps * size


def check_gradients(inputs, states, grad, nonlinearity, eps, sizes=None):
    """Against the adjoint in double precision at the same states."""
    needed, kind = Needed(*(a is not None for a in inputs)), Kind(nonlinearity, sizes)
    gradients = compiled.backward(grad, inputs, states, kind, needed)
    expected = eager.backward(grad.double(), double(inputs), states.double(), kind, needed)
    steps = len(states) if sizes is None else len(sizes)
    for a, b in zip(gradients, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            scale = b.norm() + 1
            assert (a - b).norm() <= 8 * eps * (steps + a.numel() ** 0.5) * scale


@every_nonlinearity
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (9, 33, 3, 17), (40, 20, 40, 65), (5, 150, 2, 33)])
def test_every_step_and_gradient_is_right(built, nonlinearity, shape):
    dtype, eps = built.dtype, torch.finfo(built.dtype).eps
    inputs = problem(*shape, nonlinearity, dtype)
    states = compiled.forward(inputs, Kind(nonlinearity))
    check_steps(inputs, states, nonlinearity, eps)
    check_gradients(inputs, states, torch.randn_like(states), nonlinearity, eps)


@st.composite
def calls(draw):
    sizes = draw(st.none() | st.lists(st.integers(1, 40), min_size=1, max_size=12).map(sorted))
    T, B = (draw(st.integers(1, 30)), draw(st.integers(1, 40)))
    if sizes is not None:
        sizes = torch.tensor(sizes[::-1])
        T, B = len(sizes), int(sizes[0])
    return (T, B, draw(st.integers(1, 40)), draw(st.integers(1, 70))), sizes


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it is the same for every example
)
@given(
    call=calls(),
    nonlinearity=st.sampled_from(sorted(NONLINEARITIES)),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_any_shape_packed_or_dense_on_any_number_of_threads(
    built, call, nonlinearity, threads, seed
):
    torch.manual_seed(seed)
    dtype, eps = built.dtype, torch.finfo(built.dtype).eps
    shape, sizes = call
    inputs = problem(*shape, nonlinearity, dtype, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "OPERATIONS_PER_THREAD", 1e-9)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        patch.setattr(compiled, "CHUNK_BYTES", 1)  # the shortest chunks of rows
        states = compiled.forward(inputs, Kind(nonlinearity, sizes))
        check_steps(inputs, states, nonlinearity, eps, sizes)
        check_gradients(inputs, states, torch.randn_like(states), nonlinearity, eps, sizes)


def test_tanh_is_accurate_from_the_smallest_to_the_largest_number(built):
    dtype = built.dtype
    sizes = torch.cat([torch.logspace(-30, 1.5, 2001), torch.linspace(0, 12, 2001)]).to(dtype)
    z = torch.cat([sizes, -sizes])
    zero = torch.zeros(len(z), 1, dtype=dtype)
    one = torch.ones(1, 1, dtype=dtype)
    h = compiled.forward(Inputs(z.view(1, -1, 1), zero, one, one), Kind("tanh")).flatten()
    error = (h.double() - z.double().tanh()).abs()
    assert (error <= 3 * torch.finfo(dtype).eps * z.double().tanh().abs()).all()
    assert torch.equal(h.signbit(), z.signbit() & (z != 0))


def test_threads_change_no_state(built, monkeypatch):
    inputs = problem(20, 70, 3, 20, "tanh", built.dtype)
    alone = compiled.forward(inputs, Kind("tanh"))
    monkeypatch.setattr(compiled, "OPERATIONS_PER_THREAD", 1e-9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(compiled.forward(inputs, Kind("tanh")), alone)


@pytest.mark.parametrize("layout", ["batch first", "strided", "one number", "one row", "no time"])
def test_the_layout_of_input_and_gradient_does_not_show(built, layout):
    inputs, kind = problem(11, 6, 4, 9, "relu", built.dtype), Kind("relu")
    g = torch.randn(11, 6, 9, dtype=inputs.x.dtype)
    if layout == "batch first":
        x, grad = (a.transpose(0, 1).contiguous().transpose(0, 1) for a in (inputs.x, g))
    elif layout == "strided":
        x, grad = (a.repeat_interleave(2, -1)[..., ::2] for a in (inputs.x, g))
    else:
        kept = {"one number": g[:1, :1, :1], "one row": g[:1, :1], "no time": g[:1]}[layout]
        x, grad = inputs.x, kept.expand_as(g)
    states, strided = compiled.forward(inputs, kind), inputs._replace(x=x)
    assert torch.equal(compiled.forward(strided, kind), states)
    needed = Needed(*[True] * 5)
    torch.testing.assert_close(
        compiled.backward(grad, strided, states, kind, needed),
        compiled.backward(grad.contiguous(), inputs, states, kind, needed),
        rtol=0,
        atol=0,
    )


def test_a_product_has_the_accuracy_of_its_dtype_over_a_wide_range_of_sizes(built):
    """Entries from 1e-12 to 1e12: each sum is within a few units of what its terms allow."""
    n, dtype = 96, built.dtype
    h = torch.randn(64, n, dtype=dtype) * 10 ** torch.empty(64, n, dtype=dtype).uniform_(-12, 12)
    w = torch.randn(n, n, dtype=dtype) * 10 ** torch.empty(n, n, dtype=dtype).uniform_(-3, 3)
    inputs = Inputs(torch.zeros(1, 64, 1, dtype=dtype), h, w, torch.zeros(n, 1, dtype=dtype))
    product = compiled.forward(inputs, Kind("identity"))[0]
    exact, allowed = h.double() @ w.double().t(), h.double().abs() @ w.double().abs().t()
    assert ((product - exact).abs() / allowed).max() < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan"), 3.4e38])
def test_what_is_not_finite_is_what_torch_makes_of_it(bad, monkeypatch):
    monkeypatch.setattr(compiled, "MIN_ROWS_AMX", 1)
    monkeypatch.setattr(compiled, "MIN_COLUMNS_AMX", 1)
    inputs, kind = problem(6, 3, 2, 5, "relu", torch.float32), Kind("relu")
    inputs = inputs._replace(w_hh=torch.eye(5))
    inputs.x[3, 1, 0] = bad
    states, expected = compiled.forward(inputs, kind), eager.forward(inputs, kind)
    torch.testing.assert_close(states, expected, equal_nan=True)
    g = torch.ones_like(states)
    g[4, 2, 1] = bad
    needed = Needed(*[True] * 5)
    torch.testing.assert_close(
        compiled.backward(g, inputs, expected, kind, needed).h0,
        eager.backward(g, inputs, expected, kind, needed).h0,
        equal_nan=True,
    )


def test_the_fields_of_a_call_are_those_of_the_source(built):
    text = re.sub(r"/\*.*?\*/", "", built.source.read_text(encoding="utf-8"), flags=re.S)
    body = re.search(r"typedef struct \{([^}]*)\} Call;", text)[1]
    names = [
        name.strip(" *")
        for line in body.split(";")
        for name in re.sub(r"^\s*(const )?\w+ ", "", line).split(",")
    ]
    assert [name for name in names if name.strip()] == [field[0] for field in kernel._Call._fields_]


def test_tiles_are_for_what_fills_them():
    products = {
        (B, H): compiled.choose_kernel(torch.empty(B, H)).product
        for B, H in ((1, 190), (64, 16), (64, 190))
    }
    assert products[1, 190] == products[64, 16] == kernel.VECTOR
    assert products[64, 190] == kernel.load_kernel(torch.float32).product


def test_it_is_chosen_where_it_is_faster_and_only_for_what_it_takes():
    def name(T, B, H, nonlinearity="modrelu", dtype=torch.float32, device="cpu"):
        x, h0 = torch.empty(T, B, 3, dtype=dtype, device=device), torch.empty(B, H, dtype=dtype)
        w, v = torch.empty(H, H, dtype=dtype), torch.empty(H, 3, dtype=dtype)
        return ELMAN.fastest(Inputs(x, h0, w, v), Kind(nonlinearity))

    assert name(100, 32, 64) == "c"
    assert name(100, 32, 64, dtype=torch.float64) == "c"
    assert name(1, 32, 64) == "eager"
    assert name(8, 1, 1024) == "eager"
    assert name(100, 32, 64, dtype=torch.bfloat16) == "eager"
    assert name(100, 32, 64, device="meta") == "eager"
    assert name(10_000, 1, 64, nonlinearity="identity") == "scan"


def test_a_named_backend_refuses_what_it_does_not_take():
    packed = pack_sequence([torch.randn(4, 2)])
    with pytest.raises(ValueError, match="'scan' cannot run this: it takes no packed sequences"):
        OrthoRNN(2, 3, nonlinearity="identity", backend="scan")(packed)
    with pytest.raises(ValueError, match=r"'c' cannot run this: it takes .* on meta"):
        OrthoRNN(2, 3, backend="c", device="meta")(torch.empty(4, 1, 2, device="meta"))


@every_nonlinearity
def test_a_layer_on_it_equals_the_same_layer_without(nonlinearity):
    rnn = OrthoRNN(3, 20, nonlinearity=nonlinearity, dtype=torch.float64, backend="c")
    x = torch.randn(30, 4, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for backend in ("c", "eager"):
        rnn.backend = backend
        y, h = rnn(x)
        results.append((y, h, *torch.autograd.grad(y.sin().sum(), [x, *rnn.parameters()])))
    torch.testing.assert_close(*results)


def test_its_memory_is_that_of_the_states():
    """A pass allocates what it returns, and little more."""
    inputs = problem(2000, 16, 3, 32, "tanh", torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        states = compiled.forward(inputs, Kind("tanh"))
    allocated = sum(max(0, e.self_cpu_memory_usage) for e in profile.key_averages())
    assert allocated < 1.2 * states.nbytes
