"""Command lines that make no sense: each is refused by one line that names key and value."""

import os
import resource
import subprocess
import sys

import pytest

from tests.faults.harness import check_refusal
from tests.faults.processes import ENVIRONMENT, fork

pytestmark = pytest.mark.slow

MAX_PROCESSOR_SECONDS = 10.0  # twice what a refusal takes, most of it for importing torch

# (benchmark, overrides, words of the refusal)
INVALID_OVERRIDES = [
    # of the wrong type
    ("copy", "task.delay=soon", ("task.delay", "soon")),
    ("copy", "train.steps=2.5", ("train.steps", "2.5")),
    ("adding", "optimizer.lr=abc", ("optimizer", "lr", "abc")),
    ("adding", "seed=true", ("seed", "True")),
    ("tagging", "train.batch_size=[8]", ("train.batch_size", "[8]")),
    ("language", "task.window=null", ("task", "window", "None")),
    ("language", "data.path={a:1}", ("path", "a", "1")),
    ("pixels", "model.hidden_size=3.5", ("model.hidden_size", "3.5")),
    # out of range
    ("copy", "task.delay=0", ("task.delay", "0")),
    ("copy", "parameter_budget=-19000", ("parameter_budget", "-19000")),
    ("copy", "optimizer.algorithm.alpha=1.5", ("optimizer", "alpha", "1.5")),
    ("copy", "optimizer.algorithm.rows=-1", ("optimizer", "rows", "-1")),
    ("adding", "train.clip_grad_norm=-1", ("train.clip_grad_norm", "-1")),
    ("adding", "task.length=1", ("task.length", "1")),
    ("adding", "optimizer.algorithm.betas=[0.9,1.1]", ("optimizer", "betas", "1.1")),
    ("tagging", "train.batch_size=0", ("train.batch_size", "0")),
    ("tagging", "threads=0", ("threads", "0")),
    ("language", "network.dropout=1.5", ("network.dropout", "1.5")),
    ("language", "train.checkpoint_every=0", ("train.checkpoint_every", "0")),
    ("pixels", "train.decay_fraction=2", ("train.decay_fraction", "2")),
    ("pixels", "network.num_layers=0", ("network.num_layers", "0")),
    # no numbers
    ("copy", "optimizer.lr=nan", ("optimizer", "lr", "nan")),
    ("adding", "model.input_scale=inf", ("model", "input_scale", "inf")),
    ("language", "train.epochs=nan", ("train.epochs", "nan")),
    # unknown keys
    ("copy", "task.dely=10", ("task", "dely", "delay")),
    ("adding", "lr=0.1", ("lr", "configuration")),
    ("pixels", "+train.momentum=0.9", ("train.momentum", "0.9")),
    ("tagging", "network.bidirektional=true", ("network", "bidirektional")),
    # unknown choices
    ("copy", "model=transformer", ("model", "transformer", "ortho")),
    ("adding", "optimizer=adamw", ("optimizer", "adamw", "adam")),
    ("tagging", "model.retraction=euler", ("model", "retraction", "euler", "polar")),
    ("language", "data.level=syllable", ("level", "syllable", "character")),
    ("pixels", "data.name=cifar", ("name", "cifar", "digits")),
    # what does not go together
    ("language", "network.bidirectional=true", ("network.bidirectional", "both ends")),
    ("copy", "network.tie_weights=true", ("tie_weights", "tokens")),
    ("adding", "train.epochs=3", ("train", "epochs", "3")),
    ("pixels", "train.batch_size=100000", ("batch_size", "100000")),
    # ways out of the folder of runs
    ("copy", "name=../x", ("name", "../x")),
    ("adding", "seed=../../x", ("seed", "../../x")),
    # of several runs, one
    ("copy", "-m seed=-1 task.delay=3", ("seed", "-1")),
]


@pytest.mark.parametrize(("name", "overrides", "words"), INVALID_OVERRIDES)
def test_invalid_overrides_are_refused_in_one_line_and_leave_nothing(
    name, overrides, words, tmp_path
):
    folder = tmp_path / "call"
    folder.mkdir()
    ended = fork(name, overrides.split(), folder).end()
    check_refusal(ended, words, codes=[2])
    # a sweep also counts its runs
    assert len(ended.err.strip().splitlines()) == 1 or overrides.startswith("-m")
    assert list(folder.iterdir()) == []
    assert [p for p in tmp_path.iterdir() if not p.name.startswith("call")] == []


def test_a_refusal_by_the_command_takes_little_of_a_processor(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.copy", "task.delay=0"],
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < MAX_PROCESSOR_SECONDS
