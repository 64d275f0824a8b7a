"""Several processes are one run: the same losses, one set of files, resumed by any number."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.tasks.task import Batch
from benchmarks.training.distributed import SINGLE, Processes, make_processes
from tests import forks
from tests.benchmarks.commandline import CONF, TINY, load

pytestmark = pytest.mark.usefixtures("default_signals")

SETTING = [*TINY["language"], "logger=disabled", "train.steps=12", "train.batch_size=6"]
SETTING += ["train.evaluate_every=4", "train.gradient_flow_every=12", "train.checkpoint_every=4"]


def start(folder, count, *arguments, name="language"):
    """A run of so many processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc-per-node={count}", "-m"]
    return subprocess.Popen(
        [*(launcher if count > 1 else [sys.executable, "-m"]), f"benchmarks.{name}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def close_rows(a, b):
    assert [row.keys() for row in a] == [row.keys() for row in b]
    for x, y in zip(a, b, strict=True):
        for key in x.keys() - {"seconds", "orthogonality_error"}:
            assert x[key] == pytest.approx(y[key], rel=1e-4, abs=1e-6), (x["step"], key)


@pytest.mark.slow
def test_two_processes_are_as_one_and_write_once(tmp_path):
    for count in (1, 2):
        with start(tmp_path, count, *SETTING, f"hydra.run.dir=by{count}") as process:
            out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert out.count("written to") == 1
        assert err.count("ortho 12/12") == 1
    (one, a), (two, b) = (load(tmp_path / f"by{count}") for count in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    close_rows(a, b)
    assert two["test"] == pytest.approx(one["test"], rel=1e-4)
    states = [torch.load(tmp_path / f"by{k}/checkpoint.pt", weights_only=True) for k in (1, 2)]
    torch.testing.assert_close(states[0]["state"]["memory"], states[1]["state"]["memory"])
    assert (tmp_path / "by1" / "gradients.jsonl").exists()
    names = [{p.name for p in (tmp_path / f"by{count}").iterdir()} for count in (1, 2)]
    assert names[0] == names[1]


MANY = [*SETTING, "train.steps=800", "train.evaluate_every=400", "train.checkpoint_every=50"]
MANY += ["train.gradient_flow_every=null", "optimizer.lr=1e-4", "optimizer.lr_ortho=1e-5"]
# without the kinks of modReLU, where the rounding of a sum over processes decides a unit
MANY += ["orthogonal.nonlinearity=tanh"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The records of a run of one process that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    forks.start(forks.benchmark, "language", [*MANY, "hydra.run.dir=."], folder=folder).join(100)
    return load(folder)[1]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_any_number_of_processes_stops_together_and_takes_over(tmp_path, whole, before, after):
    setting = [*MANY, "hydra.run.dir=here"]
    rows = tmp_path / "here" / "metrics.jsonl"
    with start(tmp_path, before, *setting) as process:
        while not rows.exists() or rows.read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)  # torchrun hands it on to both
        process.communicate(timeout=60)
    about, records = load(tmp_path / "here")
    saved = torch.load(tmp_path / "here" / "checkpoint.pt", weights_only=True)["state"]
    assert about["status"] == "interrupted"
    assert len(records) == saved["step"] < 800
    assert saved["memory"].shape[1] == 6  # what all of them remember
    with start(tmp_path, after, *setting) as process:
        _, err = process.communicate(timeout=60)
    about, records = load(tmp_path / "here")
    assert (about["status"], about["processes"]) == ("finished", after), err
    assert [again["step"] for again in about["resumed"]] == [saved["step"]]
    close_rows(whole, records)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_once(tmp_path):
    with start(tmp_path, 2, *SETTING, "train.batch_size=7", "hydra.run.dir=here") as process:
        _, err = process.communicate(timeout=100)
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told == ["error: train.batch_size must be a multiple of the 2 processes, got 7"]
    assert process.returncode != 0
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
@pytest.mark.parametrize("single", [False, True])
def test_shares_are_the_columns_of_a_batch(shape, single):
    batch = Batch(torch.randn(shape), torch.randn(7) if single else torch.randn(5, 7))
    shares = [Processes(rank, 3).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat([share.input for share in shares], 1), batch.input)
    assert torch.equal(torch.cat([share.target for share in shares], -1), batch.target)
    assert [share.target.shape[-1] for share in shares] == [3, 2, 2]


def test_a_process_alone_changes_nothing():
    batch = Batch(torch.randn(5, 7), torch.randn(5, 7), True)
    shared = SINGLE.share(batch)
    assert shared.input is batch.input
    assert shared.target is batch.target
    assert shared.carries_state
    scores = {"loss": 0.1}
    assert SINGLE.mean(scores) is SINGLE.total(scores) is scores
    assert SINGLE.gather(3) == [3]
    model = torch.nn.Linear(1, 1)
    assert SINGLE.replicate(model) is model
    assert SINGLE.any(True)
    assert not SINGLE.any(None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="found 0"):
        make_processes("cuda")
