"""Machine code that fails or computes something else is found out, and torch's operations run."""

from types import SimpleNamespace

import pytest
import torch

from orthornn import OrthoRNN, backends
from orthornn.recurrence.elman import compiled, eager, kernel
from orthornn.recurrence.elman.inputs import Gradients, Inputs, Needed
from orthornn.recurrence.elman.problems import problems
from orthornn.recurrence.self_test import self_test
from tests import forked

CPU = torch.device("cpu")


def failure(backend, dtype=torch.float32):
    return self_test(backend, eager, Needed, problems(CPU, dtype))


def backend(forward=eager.forward, backward=eager.backward):
    return SimpleNamespace(forward=forward, backward=backward)


def test_torch_itself_passes():
    assert failure(backend()) is None


def test_both_ways_of_making_products_on_a_cpu_are_tried_with_whole_tiles_of_rows(monkeypatch):
    """On a processor with AMX few columns are left to vectors, which hold up to 14 rows."""
    monkeypatch.setattr(compiled, "load_kernel", lambda dtype, product: product)
    tried = set()

    def forward(inputs, kind):
        tried.add((compiled.choose_kernel(inputs.h0), len(inputs.h0) > 14))
        return eager.forward(inputs, kind)

    assert failure(backend(forward)) is None
    assert {(None, True), (kernel.VECTOR, True)} <= tried


def wrong_states(*arguments):
    return eager.forward(*arguments).index_fill(0, torch.tensor(4), 1.0)


def wrong_gradient(name):
    def backward(*arguments):
        gradients = eager.backward(*arguments)
        gradient = getattr(gradients, name)
        return gradients if gradient is None else gradients._replace(**{name: 1.001 * gradient})

    return backward


WRONG = {"states": backend(forward=wrong_states)} | {
    name: backend(backward=wrong_gradient(name)) for name in Inputs._fields
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_any_wrong_number_is_found(wrong):
    assert failure(wrong) == "its self-test gave other numbers than torch"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_wrong_for_packed_rows_or_tanh_alone_is_found(dtype):
    def packed_only(inputs, kind):
        states = eager.forward(inputs, kind)
        return states if kind.batch_sizes is None else states.flip(0)

    assert "other numbers" in failure(backend(packed_only), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("disturbance", ["fake", "meta", "default", "bfloat16"])
def test_nothing_that_is_set_elsewhere_disturbs_a_self_test(disturbance):
    """In a process of its own, for the first use alone is tried."""
    around = {
        "fake": "with FakeTensorMode(): found = backends()",
        "meta": "with torch.device('meta'): found = backends()",
        "default": "torch.set_default_device('meta'); found = backends()",
        "bfloat16": "torch.set_default_dtype(torch.bfloat16); found = backends()",
    }[disturbance]
    code = f"""
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from orthornn import backends
{around}
print(found["c"])
"""
    done = forked.python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(backends()["c"])


def test_nan_and_a_missing_gradient_are_wrong():
    nothing = backend(backward=lambda *_: Gradients())
    assert "other numbers" in failure(nothing)
    nan = backend(forward=lambda *a: eager.forward(*a) * float("nan"))
    assert "other numbers" in failure(nan)


def test_a_failure_is_named_in_a_line():
    def fail(*arguments):
        raise RuntimeError("no room\non the chip")

    assert failure(backend(fail)) == "its self-test failed: RuntimeError: no room"


def test_without_trust_torch_runs_and_the_reason_is_told():
    code = """
import torch
from orthornn import OrthoRNN, backends
from orthornn.recurrence.elman import eager
from orthornn.recurrence.elman import compiled
compiled.forward = lambda *a: eager.forward(*a) + 1
print(backends()["c"], "|", OrthoRNN(3, 8).backend_for(torch.zeros(30, 4, 3)))
"""
    if backends()["c"] is not None:
        pytest.skip(backends()["c"])
    done = forked.python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "its self-test gave other numbers than torch | eager"


def test_what_this_machine_lacks_is_told_when_a_layer_is_made():
    if backends()["triton"] is None:
        pytest.skip("Triton runs here")
    with pytest.raises(ValueError, match="backend 'triton' cannot run this: "):
        OrthoRNN(3, 8, backend="triton")
