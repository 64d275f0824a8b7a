"""What the tests of faults measure with: damages, differences, and how a failure is judged."""

import random

import pytest
import torch

from tests.faults.harness import check_refusal
from tests.faults.processes import Ended
from tests.faults.run_output import differences

from . import corruption


@pytest.mark.parametrize("kind", corruption.DAMAGES)
def test_every_damage_changes_the_bytes(kind, monkeypatch):
    rng = random.Random(0)
    monkeypatch.setattr(corruption, "DAMAGES", {kind: corruption.DAMAGES[kind]})
    monkeypatch.setattr(corruption, "WEIGHTS", [1])
    data = rng.randbytes(15_000)
    for _ in range(50):
        named, changed = corruption.damage(data, rng)
        assert named == kind
        assert changed != data


def test_differences_are_of_bits_and_have_a_place():
    nan = float("nan")
    a = {"w": torch.tensor([0.0, nan]), "rows": [{"loss": 1.0, "step": 1}], "none": nan}
    assert differences(a, {**a, "w": a["w"].clone()}) == []
    assert differences(a, {**a, "w": -a["w"]}) == [".w differs"]
    assert differences(a, {**a, "w": a["w"].double()}) == [".w differs"]
    assert differences(a, {**a, "rows": [{"loss": 1.5, "step": 1}]}) == [".rows[0].loss differs"]
    assert differences(a, {**a, "rows": []}) == [".rows has 1 and 0 entries"]
    assert differences(a, {"w": a["w"], "more": 1, "none": nan}) == [
        ".rows is missing",
        ".more is one too many",
    ]
    assert differences(a, {**a, "none": 0}) == [".none: float and int"]


@pytest.mark.parametrize("before", ["", "ortho 1/2 loss 3\n"])
def test_a_failure_is_one_line_of_error_and_a_code(before):
    check_refusal(Ended(1, "", f"{before}error: disk full\n"), ["disk"])


@pytest.mark.parametrize(
    ("code", "err"),
    [
        (0, "error: disk full\n"),
        (None, "error: disk full\n"),
        (1, "Traceback (most recent call last)\nOSError: disk full\n"),
        (1, "error: memory full\nerror: disk full\n"),
        (1, "error: no space\n"),
        (1, ""),
    ],
)
def test_what_is_no_such_failure_is_seen(code, err):
    with pytest.raises(AssertionError):
        check_refusal(Ended(code, "", err), ["disk"])
