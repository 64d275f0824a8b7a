"""Runs that are killed, damaged, crowded out and started twice: as measured, in small numbers."""

from types import SimpleNamespace

import pytest
import torch

from tests.faults.bench import Bench
from tests.faults.left import differences
from tests.faults.starting import Ended
from tests.faults.trials import KILLED, PLAIN, refused

from . import __main__ as table
from . import corpora, damage, disk, full, kill, pairs


@pytest.fixture
def measured(tmp_path):
    """Make a measurement so often; returns its rows once nothing was broken."""

    def measure(part, times):
        bench = Bench(tmp_path, seed=torch.initial_seed())
        part.measure(bench, times)
        assert [told for row in bench.rows for told in row.broken] == []
        assert list(tmp_path.iterdir()) == []
        return bench.rows

    return measure


@pytest.mark.slow
def test_runs_that_are_killed_again_and_again_end_as_if_they_had_not_been(measured, monkeypatch):
    shorter = ("train.steps=60", "train.evaluate_every=6")
    for name, trial in KILLED.items():
        short = trial._replace(overrides=(*trial.overrides, *shorter))
        monkeypatch.setitem(KILLED, name, short)
    monkeypatch.setattr(kill, "WINDOW", 0.2)
    rows = measured(kill, 20)
    assert [row.times for row in rows] == [6, 7, 7]
    assert all(" 0 lost" in row.came for row in rows)
    assert sum(int(row.came.partition(" ")[0]) for row in rows) > 0  # were caught in a write


@pytest.fixture
def unseen(monkeypatch):
    """Runs without looks into the model, whose drawings take longest."""
    plain = PLAIN._replace(overrides=(*PLAIN.overrides, "train.gradient_flow_every=null"))
    for part in (damage, pairs):
        monkeypatch.setattr(part, "PLAIN", plain)


@pytest.mark.slow
def test_no_damaged_checkpoint_is_loaded_and_the_one_before_takes_over(
    measured, unseen, monkeypatch
):
    monkeypatch.setattr(damage, "COMMANDS", 0)
    loaded, went_on, nothing_left = measured(damage, 100)
    assert (loaded.times, loaded.came) == (100, "0 not refused")
    assert went_on.came == "1 of 1 with a warning and bit-identical"
    assert nothing_left.came == "refused"


@pytest.fixture
def small(monkeypatch):
    """Runs that are crowded out, shortened."""
    shorter = ("train.steps=80", "train.evaluate_every=30", "train.checkpoint_every=30")
    shorter += ("parameter_budget=3000", "train.gradient_flow_every=80")
    short = full.TRIAL._replace(overrides=(*full.TRIAL.overrides, *shorter))
    monkeypatch.setattr(full, "TRIAL", short)
    monkeypatch.setattr(full, "STEPS", 80)


@pytest.mark.slow
@pytest.mark.skipif(not disk.can_mount(), reason="a disk can be mounted by root alone")
def test_a_full_disk_is_one_line_and_with_space_the_run_goes_on(measured, small):
    rows = measured(full, 4)
    assert [row.times for row in rows] == [3, 1, 2, 2]


@pytest.mark.slow
def test_a_limit_to_the_size_of_files_is_one_line_too(measured, small, monkeypatch):
    monkeypatch.setattr(full, "can_mount", lambda: False)
    monkeypatch.setattr(full, "_taken_away", lambda bench, row, number: None)
    limit, _ = measured(full, 1)
    assert limit.times == 1


@pytest.mark.slow
def test_of_two_starts_of_one_run_exactly_one_proceeds(measured, unseen, monkeypatch):
    monkeypatch.setattr(pairs, "COMMANDS", 0)
    (row,) = measured(pairs, 2)
    assert "proceeded in 2;" in row.came


@pytest.mark.slow
def test_bad_texts_are_refused_and_unusual_ones_run_and_data_are_the_same_anywhere(measured):
    bad, good, data = measured(corpora, len(corpora.BAD))
    assert bad.came == "12 refused with file and reason"
    assert good.came == "5 ran"
    assert data.came.startswith("1 hash: ")


@pytest.mark.parametrize("kind", damage.DAMAGES)
def test_every_damage_changes_the_bytes(kind, monkeypatch):
    bench = Bench(None)
    monkeypatch.setattr(damage, "DAMAGES", {kind: damage.DAMAGES[kind]})
    monkeypatch.setattr(damage, "WEIGHTS", [1])
    data = bench.dice.randbytes(15_000)
    for _ in range(50):
        named, changed = damage.damaged(data, bench.dice)
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


@pytest.mark.parametrize(
    ("code", "err", "wrong"),
    [
        (1, "error: disk full\n", 0),
        (1, "ortho 1/2 loss 3\nerror: disk full\n", 0),
        (0, "error: disk full\n", 1),
        (None, "error: disk full\n", 1),
        (1, "Traceback (most recent call last)\nOSError: disk full\n", 1),
        (1, "error: memory full\nerror: disk full\n", 1),
        (1, "error: no space\n", 1),
        (1, "", 2),
    ],
)
def test_a_failure_is_judged_by_its_code_and_its_one_line(code, err, wrong):
    assert len(refused(Ended(code, "", err, 0.0), ["disk"])) == wrong


def test_a_broken_expectation_keeps_its_folder_and_sets_the_exit_code(
    tmp_path, monkeypatch, capsys
):
    def measure(bench, times):
        with bench.row("nothing", times) as row:
            for holds in (True, False):
                with bench.case(row, "case") as case:
                    case.expect(holds, "it broke")

    monkeypatch.setitem(
        table.PARTS, "kill", SimpleNamespace(measure=measure, times=1, what="kills")
    )
    report = tmp_path / "table.json"
    arguments = ["--parts", "kill", "--folder", str(tmp_path / "here"), "--json", str(report)]
    assert table.main(arguments) == 1
    assert f"it broke (see {tmp_path / 'here' / 'case'})" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["case"]
    assert '"broken"' in report.read_text()
