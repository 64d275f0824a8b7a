"""No product of a step, an initialization or a recurrence is made in TF32 or bfloat16."""

import threading

import geoopt
import pytest
import torch
from torch import nn

from orthornn import (
    OrthoRNN,
    OrthoRNNCell,
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    Stiefel,
    haar_,
    linalg,
    project_,
)
from orthornn._matmul_precision import full_precision_matmul
from orthornn.diagnostics import orthogonality_error
from orthornn.manifolds.retractions import RETRACTIONS
from tests.peers import RUNNING

N = 64  # on a CPU with AMX, from this size on a product is one of oneDNN's


def on_backend(backend, precision):
    backend.fp32_precision = precision


CPU, GPU = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul
LOWER = {
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(GPU, "allow_tf32", True),
    "cpu bf16": lambda: on_backend(CPU, "bf16"),
    "cpu tf32": lambda: on_backend(CPU, "tf32"),
    "gpu tf32": lambda: on_backend(GPU, "tf32"),
    "all bf16": lambda: on_backend(torch.backends, "bf16"),
    "all tf32": lambda: on_backend(torch.backends, "tf32"),
}
every_lower = pytest.mark.parametrize("lower", LOWER.values(), ids=LOWER)
STEPS = {
    "sgd": lambda x: RiemannianSGD([x], lr=0.1, momentum=0.9),
    "sgd, rows": lambda x: RiemannianSGD([x], lr=0.1, rows=0.5),
    "adam": lambda x: RiemannianAdam([x], lr=0.1),
    "rmsprop": lambda x: RiemannianRMSprop([x], lr=0.1),
    "muon": lambda x: RiemannianMuon([x], lr=0.1),
    "geoopt's adam": lambda x: geoopt.optim.RiemannianAdam([x], lr=0.1),
}


def reset():
    torch.set_float32_matmul_precision("highest")
    for backend in (CPU, GPU, torch.backends):
        backend.fp32_precision = "none"


@pytest.fixture(autouse=True)
def as_it_was():
    reset()
    yield
    reset()


def settings():
    """All that torch says of its setting, also where it says that its interfaces were mixed."""

    def ask(question):
        try:
            return question()
        except RuntimeError:
            return "mixed"

    return [
        *(backend.fp32_precision for backend in (CPU, GPU, torch.backends)),
        ask(torch.get_float32_matmul_precision),
        ask(lambda: GPU.allow_tf32),
    ]


def exact_and_lowered(action, lower=LOWER["medium"]):
    """What ``action`` gives as torch starts, and again where products are less precise."""
    torch.manual_seed(0)
    exact = action()
    lower()
    before = settings()
    torch.manual_seed(0)
    lowered = action()
    assert settings() == before
    return exact, lowered


def point(retraction="polar", n=N):
    manifold = Stiefel(retraction)
    return geoopt.ManifoldParameter(manifold.random(n, n).data, manifold=manifold)


def moved(make, retraction="polar"):
    x = point(retraction)
    optimizer = make(x)
    for _ in range(2):
        x.grad = torch.randn(N, N)
        optimizer.step()
    return x.detach()


@every_lower
def test_a_step_is_the_same_to_the_bit_and_the_setting_is_left_as_it_was(lower):
    exact, lowered = exact_and_lowered(lambda: moved(STEPS["adam"]), lower)
    assert torch.equal(exact, lowered)


@pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)
def test_a_step_of_every_optimizer_is_exact(make):
    exact, lowered = exact_and_lowered(lambda: moved(make))
    if make is STEPS["geoopt's adam"]:  # its own products are not ours to guard
        assert linalg.orthogonality_error(lowered) < 5e-6
    else:
        assert torch.equal(exact, lowered)


@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_a_step_by_every_retraction_is_exact(retraction):
    exact, lowered = exact_and_lowered(lambda: moved(STEPS["rmsprop"], retraction))
    assert torch.equal(exact, lowered)


METHODS = {
    "random": lambda m, x, u: m.random(N, N),
    "proju": lambda m, x, u: m.proju(x, u),
    "egrad2rgrad": lambda m, x, u: m.egrad2rgrad(x, u),
    "projx": lambda m, x, u: m.projx(x + u),
    "retr": lambda m, x, u: m.retr(x, m.proju(x, u)),
    "expmap": lambda m, x, u: m.expmap(x, m.proju(x, u)),
    "transp": lambda m, x, u: m.transp(x, m.projx(x + u), m.proju(x, u)),
    "inner": lambda m, x, u: m.inner(x, m.proju(x, u)),
    "to_lie_algebra": lambda m, x, u: m.to_lie_algebra(x, u),
    "from_lie_algebra": lambda m, x, u: m.from_lie_algebra(x, m.to_lie_algebra(x, u)),
    "gradient_in_lie_algebra": lambda m, x, u: m.gradient_in_lie_algebra(x, u),
    "retract_skew": lambda m, x, u: m.retract_skew(x, m.to_lie_algebra(x, u)),
    "dist": lambda m, x, u: m.dist(x, m.retr(x, m.proju(x, u))),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_of_the_manifold_is_exact(method):
    manifold = Stiefel(metric="canonical")

    def call():
        x = manifold.random(N, N).as_subclass(torch.Tensor)
        return method(manifold, x, 0.05 * torch.randn(N, N))

    exact, lowered = exact_and_lowered(call)
    assert torch.equal(exact, lowered)


def projected():
    rnn = nn.RNN(3, N)
    project_(rnn)
    ours = OrthoRNN(3, N, nonlinearity="tanh")
    ours.load_state_dict(rnn.state_dict())
    return ours.weight_hh_l0.detach()


@pytest.mark.parametrize("make", [lambda: haar_(torch.empty(N, N)), projected])
def test_initial_and_projected_weights_are_exact(make):
    exact, lowered = exact_and_lowered(make)
    assert torch.equal(exact, lowered)


@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "autograd"])
@pytest.mark.parametrize("nonlinearity", ["modrelu", "identity"])
def test_a_recurrence_and_its_gradients_are_exact(backend, nonlinearity):
    def run():
        rnn = OrthoRNN(3, N, nonlinearity=nonlinearity, backend=backend)
        output, _ = rnn(torch.randn(20, 16, 3))
        output.square().sum().backward()
        return torch.cat([output.detach().flatten(), *(p.grad.flatten() for p in rnn.parameters())])

    exact, lowered = exact_and_lowered(run)
    assert torch.equal(exact, lowered)


FORWARD = {
    "autograd": lambda: OrthoRNN(3, N, backend="autograd")(torch.randn(5, N, 3))[0],
    "cell": lambda: OrthoRNNCell(3, N)(torch.randn(N, 3), torch.randn(N, N)),
    "compiled": lambda: torch.compile(OrthoRNN(3, N), backend="eager", fullgraph=True)(
        torch.randn(5, N, 3)
    )[0],
}


@pytest.mark.parametrize("forward", FORWARD.values(), ids=FORWARD)
def test_the_forward_pass_is_exact_however_it_runs(forward):
    exact, lowered = exact_and_lowered(forward)
    torch.compiler.reset()
    assert torch.equal(exact, lowered)


@every_lower
def test_no_product_of_a_step_sees_the_lower_setting(lower, monkeypatch):
    seen = []
    product = linalg.gram_error
    monkeypatch.setattr(linalg, "gram_error", lambda x: seen.append(settings()[:2]) or product(x))
    x = point(n=4)
    optimizer = RiemannianAdam([x])
    lower()
    seen.clear()
    x.grad = torch.randn(4, 4)
    optimizer.step()
    assert seen
    assert not {"bf16", "tf32"} & {precision for each in seen for precision in each}


@every_lower
def test_the_setting_comes_back_after_a_step_that_raises(lower):
    x = point(n=4)
    x.grad = torch.full((4, 4), torch.nan)
    lower()
    before = settings()
    with pytest.raises(FloatingPointError):
        RiemannianAdam([x]).step()
    assert settings() == before
    with pytest.raises(torch.linalg.LinAlgError):
        Stiefel().projx(x.grad)
    assert settings() == before


def test_a_setting_that_was_inherited_still_follows_the_one_it_came_from():
    torch.backends.fp32_precision = "bf16"
    with full_precision_matmul():
        assert CPU.fp32_precision == "ieee"
    assert CPU.fp32_precision == "bf16"
    torch.backends.fp32_precision = "ieee"
    assert CPU.fp32_precision == "ieee"


def test_the_last_of_several_threads_restores():
    LOWER["medium"]()
    before = settings()
    inside, leave = threading.Event(), threading.Event()

    def work():
        with full_precision_matmul():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    with full_precision_matmul():
        thread.start()
        assert inside.wait(10)
    assert settings()[:2] == ["ieee", "ieee"]
    leave.set()
    thread.join()
    assert settings() == before


def test_a_setting_made_meanwhile_is_raised_for_the_next_and_kept():
    with full_precision_matmul():
        LOWER["medium"]()
        changed = settings()
        with full_precision_matmul():
            assert CPU.fp32_precision == "ieee"
    assert settings() == changed


def test_the_state_of_a_linear_recurrence_keeps_its_norm_under_the_lowest_setting():
    LOWER["medium"]()
    rnn = OrthoRNN(1, N, nonlinearity="identity", bias=False, init="haar")
    h0 = torch.randn(1, 8, N)
    with torch.no_grad():
        ratio = rnn(torch.zeros(1000, 8, 1), h0)[1].norm() / h0.norm()
    assert ratio.item() == pytest.approx(1.0, abs=1e-3)
    assert orthogonality_error(rnn) < 1e-5
