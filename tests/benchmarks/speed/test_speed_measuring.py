"""The speed benchmark as a measurement: whom it compares, how it times, what memory it sees."""

import contextlib
import os
import signal
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.speed import memory, throughput
from benchmarks.speed.cases import layer_passes, layers, peers
from benchmarks.speed.sizes import TINY_SIZE, Size
from benchmarks.speed.suites import SUITES
from benchmarks.speed.table import THROUGHPUT, MeasuredTable, SpeedPlan, SpeedTable
from benchmarks.speed.timing import (
    SLOW_SECONDS,
    TURN_SECONDS,
    Clock,
    measure_seconds,
    timing_rounds,
)
from orthornn.recurrence import ELMAN, backends
from orthornn.recurrence.elman import eager

CPU = torch.device("cpu")
PLAN = SpeedPlan(CPU, sizes=None, quick=True, threads=1, repeats=2)
MEGABYTE = 10**6


def quiet(name):
    """Nobody is told what runs."""


def table(candidates, flop=None):
    return SpeedTable("a table", ("first",), candidates, frozenset(), flop or {})


@pytest.mark.parametrize("name", peers.installed_peers())
def test_a_peer_runs_over_all_steps_and_every_parameter_learns(name):
    layer = peers.installed_peers()[name](TINY_SIZE)
    output, _ = layer(torch.randn(TINY_SIZE.T, TINY_SIZE.B, TINY_SIZE.I))
    assert output.shape == (TINY_SIZE.T, TINY_SIZE.B, TINY_SIZE.H)
    output.square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    if "orthogonal" in name:
        w = layer.recurrent.weight
        torch.testing.assert_close(w.T @ w, torch.eye(TINY_SIZE.H), rtol=0, atol=1e-5)


def test_the_layers_follow_the_table_of_backends(monkeypatch):
    monkeypatch.setitem(ELMAN.backends, "new", eager)
    rows = {f"OrthoRNN modrelu, {name}": name for name in backends() if name != "autograd"}
    rows["OrthoRNN modrelu, autograd loop"] = "autograd"
    assert "new" in rows.values()
    refused = layers.refused_backends(CPU)
    assert "scan" in refused  # it is for linear recurrences
    assert {row for row, name in rows.items() if name not in refused} < set(layers.own_layers(CPU))
    for name, backend in rows.items():
        if backend in refused:
            continue
        assert layers.layer_makers()[name](TINY_SIZE).backend == backend


@pytest.mark.parametrize("when", ["made", "called"])
def test_a_backend_that_refuses_is_left_out_by_name(when, monkeypatch):
    real = layers.OrthoRNN

    def refuse(*arguments):
        raise ValueError("x must be on another machine")

    def refusing(*arguments, **options):
        return refuse() if options.get("backend") == "custom_op" else real(*arguments, **options)

    if when == "made":
        monkeypatch.setattr(layers, "OrthoRNN", refusing)
    else:
        monkeypatch.setattr(ELMAN, "operator", refuse)
    assert "OrthoRNN modrelu, custom_op" not in layers.available_layers(CPU)
    assert "OrthoRNN modrelu, eager" in layers.available_layers(CPU)
    (line,) = [line for line in layers.describe_left_out(CPU) if "custom_op" in line]
    assert "another machine" in line


def test_a_training_step_makes_gradients_and_inference_keeps_none(monkeypatch):
    seen = []

    class Layer(nn.RNN):
        def forward(self, x, state=None):
            output, state = super().forward(x, state)
            seen.append((self, x.shape if isinstance(x, torch.Tensor) else None, output))
            return output, state

    monkeypatch.setattr(layers, "layer_makers", lambda: {"a": lambda s: Layer(s.I, s.H)})
    layer_passes.training_step("a", TINY_SIZE, CPU)()
    layer_passes.inference_pass("a", TINY_SIZE, CPU)()
    layer_passes.packed_training_step("a", TINY_SIZE, CPU)()
    (trained, shape, output), (inferred, _, kept), (packed, _, _) = seen
    assert shape == (TINY_SIZE.T, TINY_SIZE.B, TINY_SIZE.I)
    assert output.grad_fn is not None
    assert kept.grad_fn is None
    assert all(p.grad is not None for p in [*trained.parameters(), *packed.parameters()])
    assert all(p.grad is None for p in inferred.parameters())


class Sleeper:
    """A candidate of a machine whose time stands still while nothing is called."""

    def __init__(self, monkeypatch, *lengths):
        self.now = 0.0
        self.lengths = list(lengths)
        self.calls = 0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def __call__(self):
        self.calls += 1
        self.now += self.lengths.pop(0) if len(self.lengths) > 1 else self.lengths[0]


def test_a_slow_candidate_is_called_once_a_turn_and_a_fast_one_fills_it(monkeypatch):
    slow = Sleeper(monkeypatch, 2 * SLOW_SECONDS)
    values, failed = measure_seconds(table({"first": lambda: slow}), PLAN, quiet)
    assert values["first"] == pytest.approx([2 * SLOW_SECONDS, 2 * SLOW_SECONDS])
    assert slow.calls == 1 + PLAN.repeats
    assert failed == {}
    fast = Sleeper(monkeypatch, SLOW_SECONDS / 100)
    clock = Clock(CPU, SLOW_SECONDS)
    assert clock.turn("a", fast) == pytest.approx(SLOW_SECONDS / 100)
    assert fast.calls == 1 + 100


def test_one_that_is_slow_at_first_only_is_timed_as_a_fast_one(monkeypatch):
    compiled = Sleeper(monkeypatch, 40.0, TURN_SECONDS / 10)
    plan = PLAN._replace(quick=False)
    values, _ = measure_seconds(table({"first": lambda: compiled}), plan, quiet)
    assert values["first"] == pytest.approx([TURN_SECONDS / 10, TURN_SECONDS / 10])
    assert compiled.calls == 1 + plan.repeats * (1 + 10)


def test_candidates_take_turns():
    order = []
    candidates = {name: partial(partial, order.append, name) for name in ("first", "second")}
    plan = PLAN._replace(quick=False)
    told = []
    measure_seconds(table(candidates), plan, told.append)
    assert told == ["first", "second"] * (1 + plan.repeats)
    assert len(told) == timing_rounds(plan) * len(candidates)
    changes = [a for a, b in zip(order, [*order[1:], None], strict=True) if a != b]
    assert changes == told


def test_throughput_is_operations_by_seconds(monkeypatch):
    one = Sleeper(monkeypatch, 0.5)
    found, _ = throughput.measure_throughput(
        table({"first": lambda: one}, {"first": 3e9}), PLAN, quiet
    )
    assert found["first"] == pytest.approx([6.0, 6.0])
    size = Size(7, 3, 2, 5)
    (peak,) = throughput.throughput_tables(PLAN._replace(quick=False, sizes=(size,)))
    assert peak.flop["nn.RNN relu"] == 6 * 7 * 3 * 5 * 5
    assert peak.flop["torch.mm of (B, H) by (H, H)"] == 2 * 3 * 5 * 5
    assert peak.flop.keys() == peak.candidates.keys()
    medians = {"first": [1.0], "second": [3.0]}
    best = MeasuredTable("peak", "a table", THROUGHPUT, tuple(medians), frozenset(), medians, {})
    assert best.reference == "second"


def planted(megabytes):
    """A candidate that allocates so much and frees it again."""
    torch.ones(9).sum()  # loads the code

    def act():
        torch.ones(megabytes * MEGABYTE // 4).sum()

    return act


def killed():
    """A candidate whose process is killed, as for want of memory."""
    return partial(os.kill, os.getpid(), signal.SIGKILL)


def hungry(megabytes):
    planted(megabytes)()
    return partial(planted, 0)


@pytest.fixture(scope="module")
def extra():
    """What measures the memory of a candidate in a process of its own."""
    with memory.memory_meter(PLAN) as measure:
        yield measure


@pytest.mark.slow
def test_memory_sees_what_a_step_allocates_and_frees(extra):
    little, much = (extra(partial(planted, n)) for n in (4, 260))
    assert (much - little) / MEGABYTE == pytest.approx(256, abs=4)
    assert little / MEGABYTE == pytest.approx(4, abs=1)


def test_memory_has_up_to_three_rounds_each_with_another_layout(monkeypatch):
    meters = []

    @contextlib.contextmanager
    def meter(plan):
        meters.append(plan)
        yield lambda make: make() + len(meters)

    monkeypatch.setattr(memory, "memory_meter", meter)
    candidates = {"first": int, "second": lambda: 1 // 0, "third": int}
    plan = PLAN._replace(quick=False, repeats=9)
    told = []
    values, failed = memory.measure_memory(table(candidates), plan, told.append)
    assert told == ["first", "second", "third"] + ["first", "third"] * (
        memory.memory_rounds(plan) - 1
    )
    assert values == {"first": [1, 2, 3], "third": [1, 2, 3]}
    assert failed.keys() == {"second"}


def test_memory_does_not_see_what_making_a_candidate_takes(extra):
    assert extra(partial(hungry, 64)) / MEGABYTE < 2


def littered(megabytes):
    """A candidate whose making leaves freed memory that its turn could take unseen."""
    pieces = [torch.ones(25_000) for _ in range(10 * megabytes)]
    last = torch.ones(25_000)  # holds the end of the heap
    pieces.clear()

    def act():
        return last, [torch.ones(25_000) for _ in range(10 * megabytes)]

    return act


def test_memory_sees_what_a_step_takes_of_that_which_its_making_freed(extra):
    assert extra(partial(littered, 64)) / MEGABYTE == pytest.approx(64, abs=2)


def test_memory_without_linux_is_the_growth_of_the_largest_size(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR_PEAK_FILE", tmp_path / "no" / "clear_refs")
    most = memory._peak_bytes()
    monkeypatch.setattr(memory, "_peak_bytes", iter([most, most + 5]).__next__)
    assert memory._resident_bytes(planted(0)) == 5


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line_and_takes_nobody_along():
    candidates = {"first": killed, "second": partial(planted, 1)}
    values, failed = memory.measure_memory(table(candidates), PLAN, quiet)
    assert values.keys() == {"second"}
    assert len(values["second"]) == 1
    assert failed.keys() == {"first"}
    assert failed["first"].startswith("its process ended with -9")


def test_an_error_in_another_process_is_told_as_it_was_there(extra):
    with pytest.raises(memory.FailedElsewhere, match=r"^ZeroDivisionError: [\w ]+$"):
        extra(partial(partial, divmod, 1, 0))


def test_sizes_are_those_of_every_part_with_layers():
    plan = PLAN._replace(quick=False, sizes=(Size(7, 6, 5, 4), Size(3, 2, 1, 9)))
    for part in SUITES.values():
        titles = [found.title for found in part.tables(plan)]
        if part.sized:
            assert ["T = 7, B = 6, I = 5, H = 4" in title for title in titles] == [True, False]
            assert "T = 3, B = 2, I = 1, H = 9" in titles[1]
        else:
            assert len(titles) > 2


def test_a_gpu_has_finished_at_both_ends_of_what_is_timed(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append("wait"))
    Clock(torch.device("cuda"), 1.0).time("a", partial(order.append, "act"), 2)
    assert order == ["wait", "act", "act", "wait"]


def test_on_a_gpu_memory_is_the_largest_of_the_step_over_what_was_there(monkeypatch):
    held = {"now": 7, "most": 50}

    def act():
        held["most"] = max(held["most"], 30)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held["most"])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: held.update(most=held["now"])
    )
    with memory.memory_meter(PLAN._replace(device=torch.device("cuda"))) as extra:
        assert extra(lambda: act) == 23
