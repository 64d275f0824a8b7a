"""Machine code that fails or computes something else is found out, and torch's operations run."""

import pytest
import torch

from orthornn import OrthoRNN
from orthornn.recurrence import engines, fused
from orthornn.recurrence.cpu import engine
from orthornn.recurrence.self_test import trial
from tests import forked

CPU = torch.device("cpu")


def test_torch_itself_passes():
    assert trial(fused.run_forward, fused.run_backward, CPU) is None


@pytest.mark.parametrize("which", range(7))
def test_any_wrong_number_is_found(which):
    def forward(*arguments):
        states = fused.run_forward(*arguments)
        return states.index_fill(0, torch.tensor(4), 1.0) if which == 6 else states

    def backward(*arguments):
        found = fused.run_backward(*arguments)
        if which < 6 and found[which] is not None:
            found[which] = 1.001 * found[which]
        return found

    assert trial(forward, backward, CPU) == "it gave other numbers than torch in a trial"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_wrong_for_packed_rows_or_tanh_alone_is_found(dtype):
    def packed_only(*arguments):
        states = fused.run_forward(*arguments)
        return states if arguments[7] is None else states.flip(0)

    assert "other numbers" in trial(packed_only, fused.run_backward, CPU, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("disturbance", ["fake", "meta", "default", "bfloat16"])
def test_nothing_that_is_set_elsewhere_disturbs_a_trial(disturbance):
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
print(found["compiled"])
"""
    done = forked.python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(engine.missing())


def test_nan_and_a_missing_gradient_are_wrong():
    def nothing(*arguments):
        return [None] * 6

    assert "other numbers" in trial(fused.run_forward, nothing, CPU)
    assert "other numbers" in trial(
        lambda *a: fused.run_forward(*a) * float("nan"), fused.run_backward, CPU
    )


def test_a_failure_is_named_in_a_line():
    def fail(*arguments):
        raise RuntimeError("no room\non the chip")

    assert trial(fail, fused.run_backward, CPU) == "it failed in a trial: RuntimeError: no room"


def test_without_trust_torch_runs_and_the_reason_is_told():
    code = """
import torch
from orthornn import OrthoRNN, backends
from orthornn.recurrence import fused
from orthornn.recurrence.cpu import engine as cpu
cpu.run_forward = lambda *a, code: fused.run_forward(*a) + 1
print(backends()["compiled"], "|", OrthoRNN(3, 8).backend_for(torch.zeros(30, 4, 3)))
"""
    if engine.missing() is not None:
        pytest.skip(engine.missing())
    done = forked.python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "it gave other numbers than torch in a trial | fused"


def test_what_this_machine_lacks_is_told_when_a_layer_is_made():
    reason = engines.ENGINES["triton"].missing()
    if reason is None:
        pytest.skip("Triton runs here")
    with pytest.raises(ValueError, match="backend 'triton' cannot run this: "):
        OrthoRNN(3, 8, backend="triton")
