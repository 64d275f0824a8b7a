"""Command lines that make no sense: each is refused by one line that names key and value."""

from __future__ import annotations

from typing import NamedTuple

from tests.faults.bench import Bench, Row
from tests.faults.pairs import ending
from tests.faults.starting import Ended, command
from tests.faults.trials import refused

AT_ONCE = 5.0  # seconds of a processor for a refusal, most of them for importing torch
SIDE_BY_SIDE = 2


class Nonsense(NamedTuple):
    """A command line and what its refusal has to say.

    Attributes:
        name: of the benchmark.
        overrides: its arguments, apart by spaces.
        words: the key and the value, as they are to be named.
    """

    name: str
    overrides: str
    words: tuple[str, ...]


NONSENSE = (
    # of the wrong type
    Nonsense("copy", "task.delay=soon", ("task.delay", "soon")),
    Nonsense("copy", "train.steps=2.5", ("train.steps", "2.5")),
    Nonsense("adding", "optimizer.lr=abc", ("optimizer", "lr", "abc")),
    Nonsense("adding", "seed=true", ("seed", "True")),
    Nonsense("tagging", "train.batch_size=[8]", ("train.batch_size", "[8]")),
    Nonsense("language", "task.window=null", ("task", "window", "None")),
    Nonsense("language", "data.path={a:1}", ("path", "a", "1")),
    Nonsense("pixels", "model.hidden_size=3.5", ("model.hidden_size", "3.5")),
    # out of range
    Nonsense("copy", "task.delay=0", ("task.delay", "0")),
    Nonsense("copy", "parameter_budget=-19000", ("parameter_budget", "-19000")),
    Nonsense("copy", "optimizer.algorithm.alpha=1.5", ("optimizer", "alpha", "1.5")),
    Nonsense("copy", "optimizer.algorithm.rows=-1", ("optimizer", "rows", "-1")),
    Nonsense("adding", "train.clip_grad_norm=-1", ("train.clip_grad_norm", "-1")),
    Nonsense("adding", "task.length=1", ("task.length", "1")),
    Nonsense("adding", "optimizer.algorithm.betas=[0.9,1.1]", ("optimizer", "betas", "1.1")),
    Nonsense("tagging", "train.batch_size=0", ("train.batch_size", "0")),
    Nonsense("tagging", "threads=0", ("threads", "0")),
    Nonsense("language", "network.dropout=1.5", ("network.dropout", "1.5")),
    Nonsense("language", "train.checkpoint_every=0", ("train.checkpoint_every", "0")),
    Nonsense("pixels", "train.decay_fraction=2", ("train.decay_fraction", "2")),
    Nonsense("pixels", "network.num_layers=0", ("network.num_layers", "0")),
    # no numbers
    Nonsense("copy", "optimizer.lr=nan", ("optimizer", "lr", "nan")),
    Nonsense("adding", "model.input_scale=inf", ("model", "input_scale", "inf")),
    Nonsense("language", "train.epochs=nan", ("train.epochs", "nan")),
    # unknown keys
    Nonsense("copy", "task.dely=10", ("task", "dely", "delay")),
    Nonsense("adding", "lr=0.1", ("lr", "configuration")),
    Nonsense("pixels", "+train.momentum=0.9", ("train.momentum", "0.9")),
    Nonsense("tagging", "network.bidirektional=true", ("network", "bidirektional")),
    # unknown choices
    Nonsense("copy", "model=transformer", ("model", "transformer", "ortho")),
    Nonsense("adding", "optimizer=adamw", ("optimizer", "adamw", "adam")),
    Nonsense("tagging", "model.retraction=euler", ("model", "retraction", "euler", "polar")),
    Nonsense("language", "data.level=syllable", ("level", "syllable", "character")),
    Nonsense("pixels", "data.name=cifar", ("name", "cifar", "digits")),
    # what does not go together
    Nonsense("language", "network.bidirectional=true", ("network.bidirectional", "both ends")),
    Nonsense("copy", "network.tie_weights=true", ("tie_weights", "tokens")),
    Nonsense("adding", "train.epochs=3", ("train", "epochs", "3")),
    Nonsense("pixels", "train.batch_size=100000", ("batch_size", "100000")),
    # ways out of the folder of runs
    Nonsense("copy", "name=../x", ("name", "../x")),
    Nonsense("adding", "seed=../../x", ("seed", "../../x")),
    # of several runs, one
    Nonsense("copy", "-m seed=-1 task.delay=3", ("seed", "-1")),
)


def measure(bench: Bench, times: int) -> None:
    """Start the first so many command lines, two at a time."""
    chosen = NONSENSE[:times]
    slowest = busiest = 0.0
    refusals = 0
    with bench.row("nonsense on the command line", len(chosen)) as row:
        for k in range(0, len(chosen), SIDE_BY_SIDE):
            for ended, wrong in _some(bench, row, chosen[k : k + SIDE_BY_SIDE]):
                slowest, busiest = max(slowest, ended.seconds), max(busiest, ended.busy)
                refusals += not wrong
        row.came = (
            f"{refusals} refused in one line, within {slowest:.1f} s, "
            f"{busiest:.1f} s of a processor"
        )


def _some(bench: Bench, row: Row, some: tuple[Nonsense, ...]) -> list[tuple[Ended, list[str]]]:
    """How each of some ended, and what was wrong with that."""
    came = []
    with bench.case(row, "nonsense") as case:
        folders = [case.folder / str(k) / "call" for k in range(len(some))]
        for folder in folders:
            folder.mkdir(parents=True)
        pairs = list(zip(some, folders, strict=True))
        ends = ending([command(one.name, one.overrides.split(), folder) for one, folder in pairs])
        for (one, folder), ended in zip(pairs, ends, strict=True):
            wrong = refused(ended, one.words, codes=[2])
            lines = ended.err.strip().splitlines()
            several = len(lines) > 1 and not one.overrides.startswith("-m")  # which counts its runs
            wrong += [f"{len(lines)} lines, the first {lines[0]!r}"] if several else []
            written = [path.name for path in folder.iterdir()]
            wrong += [f"it has written {written}"] if written else []
            beside = [p.name for p in folder.parent.iterdir() if not p.name.startswith("call")]
            wrong += [f"it has written {beside} outside of its folder"] if beside else []
            slow = ended.busy > AT_ONCE
            wrong += [f"it took {ended.busy:.1f} s of a processor"] if slow else []
            for told in wrong:
                case.expect(False, f"{one.name} {one.overrides}: {told}")
            came.append((ended, wrong))
            bench.tick()
    return came
