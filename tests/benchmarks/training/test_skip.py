"""Batches whose loss is not finite are passed over as often as allowed, and moved by never."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.config.errors import FAILED
from benchmarks.records.record import from_json, to_json
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.training import loop
from benchmarks.training.settings import TrainSettings
from tests.benchmarks.commandline import TINY, load
from tests.benchmarks.stopped import LONGER, QUIET, assert_equal, leave_after
from tests.benchmarks.training.test_train import new_state
from tests.faults.run_output import read_output

pytestmark = pytest.mark.usefixtures("default_signals")


class Rotten(CopyMemory):
    """Copy memory of which some batches are not a number."""

    def __init__(self, *steps):
        super().__init__(delay=4, symbols=2)
        self.bad = steps

    def training(self, batch_size, step, generator):
        batch = super().training(batch_size, step, generator)
        if step + 1 not in self.bad:
            return batch
        return batch._replace(input=torch.full_like(batch.input, math.nan))


def test_a_bad_batch_moves_nothing_and_the_next_one_goes_on():
    settings = TrainSettings(steps=6, batch_size=4, max_nonfinite_batches=2)
    state = new_state(settings)
    steps = loop.train(state, Rotten(3, 4), settings)
    records = list(itertools.islice(steps, 2))
    weights, moments = state.model.state_dict(), state.optimizer.state_dict()
    before = {k: v.clone() for k, v in weights.items()}, str(moments)
    records += itertools.islice(steps, 2)
    assert_equal((dict(state.model.state_dict()), str(state.optimizer.state_dict())), before)
    records += steps
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.get("skipped") for record in records] == [None, None, 1, 2, None, None]
    assert [math.isfinite(r["loss"]) for r in records] == [True, True, False, False, True, True]
    assert math.isfinite(records[-1]["validation_loss"])
    unhurt = new_state(settings)
    for record, other in zip(records, loop.train(unhurt, Rotten(), settings), strict=True):
        assert record["learning_rate"] == other["learning_rate"]  # the schedule went on


def test_the_batches_after_a_bad_one_are_those_that_would_have_come():
    settings = TrainSettings(steps=3, batch_size=4, max_nonfinite_batches=1)
    after = []
    for task in (Rotten(), Rotten(2)):
        state = new_state(settings)
        list(itertools.islice(loop.train(state, task, settings), 2))
        after.append(state.generator.get_state())
    assert torch.equal(*after)


def test_one_more_than_allowed_ends_the_run_as_before_its_step():
    settings = TrainSettings(steps=6, batch_size=4, max_nonfinite_batches=1)
    state = new_state(settings)
    with pytest.raises(loop.NonFiniteBatch, match="loss is nan at step 5"):
        list(loop.train(state, Rotten(3, 5), settings))
    assert (state.step, state.skipped) == (4, 1)
    undrawn = new_state(settings)
    list(itertools.islice(loop.train(undrawn, Rotten(3), settings), 4))
    assert torch.equal(state.generator.get_state(), undrawn.generator.get_state())


def test_a_gradient_that_is_not_finite_is_a_bad_batch_too():
    class Steep(Rotten):
        def loss(self, output, target):
            loss = super().loss(output, target)
            return loss + 0 * torch.sqrt(0 * output.sum()) if output.requires_grad else loss

    settings = TrainSettings(steps=2, batch_size=4, max_nonfinite_batches=2)
    records = list(loop.train(new_state(settings), Steep(), settings))
    assert [r["skipped"] for r in records] == [1, 2]
    assert all(math.isfinite(r["loss"]) and math.isnan(r["gradient_norm"]) for r in records)


def test_what_is_infinite_is_noted_as_it_is_read_back():
    class Endless(Rotten):
        def loss(self, output, target):
            loss = super().loss(output, target)
            return loss * math.inf if output.requires_grad else loss

    settings = TrainSettings(steps=2, batch_size=4, max_nonfinite_batches=2)
    records = list(loop.train(new_state(settings), Endless(), settings))
    for record in records:
        assert math.isnan(record["loss"])
        assert math.isnan(record["recall"])  # or its curve would fall to 0
        read = from_json(json.loads(to_json(record)))
        assert {k: repr(v) for k, v in read.items()} == {k: repr(v) for k, v in record.items()}


def test_a_line_of_a_record_is_strict_json():
    record = {"step": 3, "loss": math.nan, "gradient_norm": math.inf, "seconds": 0.5}

    def refuse(constant):
        raise ValueError(constant)

    row = json.loads(to_json(record), parse_constant=refuse)
    assert row == {"step": 3, "loss": None, "gradient_norm": None, "seconds": 0.5}
    assert math.isnan(from_json(row)["loss"])


@pytest.fixture
def rotten(monkeypatch):
    """Let the batches of some steps be not a number."""

    def spoil(*steps):
        def training(task, batch_size, step, generator):
            batch = real(task, batch_size, step, generator)
            spoilt = torch.full_like(batch.input, math.nan)
            return batch._replace(input=spoilt) if step + 1 in steps else batch

        real = CopyMemory.training
        monkeypatch.setattr(CopyMemory, "training", training)

    return spoil


def test_a_run_that_passes_over_batches_is_stopped_and_goes_on_bit_for_bit(
    command, monkeypatch, rotten
):
    tiny = [*TINY["copy"], QUIET, "train.steps=9", *LONGER[1:], "train.max_nonfinite_batches=2"]
    rotten(3, 7)
    command(*tiny, "hydra.run.dir=whole")
    with monkeypatch.context() as patch:
        leave_after(patch, 5, 15)
        with pytest.raises(SystemExit):
            command(*tiny, "hydra.run.dir=parts")
    command(*tiny, "hydra.run.dir=parts")
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
    about, rows = load(Path("parts"))
    assert [row["step"] for row in rows if "skipped" in row] == [3, 7]
    assert [row["step"] for row in rows if row["loss"] is None] == [3, 7]
    assert about["status"] == "finished"
    assert Path("parts/loss.png").exists()


def test_where_a_run_diverged_is_told(command, capsys, rotten):
    rotten(4)
    tiny = [*TINY["copy"], QUIET, "train.steps=6", "train.checkpoint_every=2", "hydra.run.dir=here"]
    with pytest.raises(SystemExit) as stop:
        command(*tiny, "seed=7")
    assert stop.value.code == FAILED
    told = capsys.readouterr().err.strip().splitlines()[-1]
    for words in (
        "at step 4",
        "seed 7",
        "here/checkpoint.pt, of step 3",
        "train.max_nonfinite_batches",
    ):
        assert words in told
    assert torch.load("here/checkpoint.pt", weights_only=True)["state"]["step"] == 3
    assert load(Path("here"))[0]["error"] in told
