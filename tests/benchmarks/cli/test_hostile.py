"""Whatever the command line is given: a run starts, or one line says why not. Never a traceback."""

import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.config.compose import compose
from benchmarks.runs import train as run
from tests.benchmarks.commandline import TINY, options

QUICK = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def dotted(node, prefix=""):
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


KEYS = sorted(dotted(OmegaConf.to_container(compose("copy", []))))
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")  # an argument cannot hold a zero
TEXT = st.text(LETTERS, max_size=12)
NUMBERS = st.one_of(
    st.integers(-3, 12),  # what lies between is a run that somebody may want
    st.sampled_from([10**12, -(10**12), 2**53 + 1, 10**30, 10**400, 10**4000]),
    st.floats(),
)
STRANGE = ["", "null", "true", "nan", "-inf", "1e400", "[]", "{}", "[1,[2]]", "{a:{b:1}}", "???"]
STRANGE += ["${seed}", "${nokey}", "${run_name:}", "${oc.env:NOT_THERE}", "../../x", "/", "'a b'"]
STRANGE += [
    "\\",
    "{",
    "[1",
    "'",
    '"',
    "1,2",
    "range(3)",
    "choice(1,2)",
    "é" * 80,
    "x" * 5000,
    "9" * 5000,
]
VALUES = st.one_of(NUMBERS.map(str), st.sampled_from(STRANGE), TEXT)
SIGNS = st.sampled_from(["", "", "", "+", "++", "~"])
OVERRIDES = st.one_of(
    st.builds("{}{}={}".format, SIGNS, st.sampled_from(KEYS), VALUES),
    st.builds("{}{}={}".format, SIGNS, TEXT, VALUES),
    st.builds("~{}".format, st.sampled_from(KEYS)),
    TEXT,
).filter(lambda text: not text.startswith("-"))  # no options: they print a page of help
MODELS = st.sampled_from(options("model")).map("model={}".format)


@pytest.fixture
def attempt(command, tmp_path, capsys, monkeypatch):
    """Call with overrides; returns whether a run got as far as its first step."""
    started = []

    def train(job):
        started.append(job)
        job.recorder.finish()
        return 0.0

    monkeypatch.setattr(run.TrainingRun, "train", train)

    def call(*overrides):
        for path in tmp_path.iterdir():
            shutil.rmtree(path)
        started.clear()
        capsys.readouterr()
        code = 0
        try:
            command(*TINY["copy"], "logger=disabled", *overrides)
        except SystemExit as stop:
            code = stop.code
        if started:
            assert code == 0
            return True
        assert code == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert len(lines[0]) < 20_000
        assert list(tmp_path.iterdir()) == []
        return False

    return call


@pytest.mark.slow
@QUICK
@given(model=MODELS, overrides=st.lists(OVERRIDES, min_size=1, max_size=3))
@example(model="model=ortho", overrides=["seed=" + "9" * 5000])
@example(model="model=ortho", overrides=["+a.b=1"])
@example(model="model=ortho", overrides=["+="])
@example(model="model=ortho", overrides=["model.hidden_size=${nokey}"])
@example(model="model=ortho", overrides=["model.hidden_size=${run_name:}"])
@example(model="model=lstm", overrides=["~optimizer.algorithm"])
@example(model="model=gru", overrides=["train._target_=os.getcwd"])
@example(model="model=gru", overrides=["train._target_=no.such"])
@example(model="model=gru", overrides=["task._target_=builtins.dict"])
@example(model="model=gru", overrides=["optimizer.algorithm._target_=torch.nn.Linear"])
@example(model="model=gru", overrides=["model._target_=torch.nn.Linear"])
@example(model="model=gru", overrides=["model._target_=builtins.dict"])
@example(model="model=gru", overrides=["optimizer._target_=builtins.dict"])
@example(model="model=gru", overrides=["logger._target_=builtins.dict"])
@example(model="model=gru", overrides=["logger._target_=no.such"])
@example(model="model=gru", overrides=["optimizer._partial_=false"])
@example(model="model=gru", overrides=["model._partial_=false"])
@example(model="model=gru", overrides=["task._partial_=true"])
def test_a_run_starts_or_one_line_says_why_not(attempt, model, overrides):
    attempt(model, *overrides)


def test_an_attempt_can_succeed(attempt):
    assert attempt("model=gru", "task.delay=3")
    assert not attempt("model=gru", "task.delay=0")
