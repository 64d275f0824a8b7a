"""The tables of ``benchmarks.compare`` in the terminal: groups, marks, and what did not finish."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare
from tests.benchmarks.fake_runs import CONFIG, three_seeds, write_run


def printed_rows(printed):
    """The cells of the rows below the heading, without the space around them."""
    rows = [line for line in printed.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def test_runs_that_differ_by_the_seed_alone_form_a_group(tmp_path, capsys):
    for model, best in (("lstm", 0.09), ("ortho", 0.0005)):
        for seed in range(3):
            write_run(tmp_path / f"{model}{seed}", model, seed, (1.0, 0.05, best * (1 + seed / 9)))
    write_run(tmp_path / "gru", "gru", status="failed", values=(1.0, 3.0))
    assert compare.main([str(tmp_path), "--figures", str(tmp_path / "figures")]) == 0
    rows = printed_rows(capsys.readouterr().out)
    assert [row[0] for row in rows] == ["ortho", "lstm", "gru"]
    assert rows[0].count("5.56e-04 [5.00e-04, 6.11e-04]") == 2  # validation and test
    assert "50.0% [50.0%, 50.0%]" in rows[0]
    assert "3, 3, 3" in rows[0]
    assert "6, 6, 6" in rows[0]  # seconds
    assert rows[1][7:10] == ["2, never, never", "never", "never"]
    assert rows[2][3:5] == ["0, 1 failed", "-"]
    assert rows[2][-1] == "-"
    assert (tmp_path / "figures" / "compare-1.png").read_bytes().startswith(b"\x89PNG")


def test_groups_are_named_by_what_tells_them_apart_and_failed_runs_enter_no_mean(tmp_path, capsys):
    for lr in (0.1, 1e30):
        for seed in (0, 1):
            failed = (lr, seed) == (1e30, 1)
            config = CONFIG | {"optimizer": {"lr": lr, "algorithm": {"alpha": 0.9}}}
            config["train"] = {"clip_grad_norm": None if lr == 0.1 else 2}
            status = "failed" if failed else "finished"
            values = (1.0, 7.0) if failed else (1.0, 0.001 if lr == 0.1 else 0.002)
            write_run(tmp_path / f"{lr}-{seed}", "ortho", seed, values, status, config=config)
    compare.main([str(tmp_path)])
    rows = printed_rows(capsys.readouterr().out)
    names = ["ortho, lr=0.1, clip_grad_norm=null", "ortho, lr=1e+30, clip_grad_norm=2"]
    assert [row[0] for row in rows] == names
    assert [row[3] for row in rows] == ["2", "1, 1 failed"]
    assert [row[4] for row in rows] == ["1.00e-03", "2.00e-03"]


def test_a_key_that_came_later_and_sets_nothing_tells_no_groups_apart(tmp_path, capsys):
    write_run(tmp_path / "before", seed=0, config=CONFIG)
    later = {"train": {**CONFIG["train"], "later": None}}
    write_run(tmp_path / "after", seed=1, config=CONFIG | later)
    compare.main([str(tmp_path)])
    assert len(printed_rows(capsys.readouterr().out)) == 1


@pytest.mark.parametrize(
    ("key", "shorter"),
    [("train.steps", 5), ("train.epochs", 5), ("train.batch_size", 5), ("parameter_budget", 5)],
)
def test_a_model_that_had_less_than_another_is_named_by_it(key, shorter, tmp_path, capsys):
    group, _, leaf = key.rpartition(".")
    for model, value in (("lstm", 10), ("ortho", shorter)):
        more = {group: CONFIG.get(group, {}) | {leaf: value}} if group else {leaf: value}
        own = {"optimizer": {"lr": value}}  # each model's own, not named
        write_run(tmp_path / model, model, config=CONFIG | own | more)
    compare.main([str(tmp_path)])
    names = {row[0] for row in printed_rows(capsys.readouterr().out)}
    assert names == {f"lstm, {leaf}=10", f"ortho, {leaf}={shorter}"}


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ("clip_grad_norm", 2),
        ("evaluate_every", 2),
        ("patience", 2),
        ("gradient_flow_every", 1),
        ("checkpoint_every", 1),
    ],
)
def test_only_what_can_change_a_result_tells_groups_apart(key, groups, tmp_path, capsys):
    for seed, value in enumerate((1, 2)):
        # the keys of model follow those of orthogonal
        other = {"train": {key: value}, "orthogonal": {"init": value}}
        write_run(tmp_path / str(value), seed=seed, config=CONFIG | other)
    compare.main([str(tmp_path)])
    assert len(printed_rows(capsys.readouterr().out)) == groups


def test_a_seed_counts_once_and_damaged_folders_are_skipped_by_name(tmp_path, capsys):
    for name, seed, loss in (("a", 0, 0.01), ("b", 0, 0.02), ("c", 1, 0.04)):
        write_run(tmp_path / name, seed=seed, values=(1.0, 0.5, loss)[: 2 + (name != "c")])
    write_run(tmp_path / "d", seed=0, status="failed")
    for name, text in (("e", "{"), ("f", "{}")):
        (write_run(tmp_path / name) / "run.json").write_text(text)
    (write_run(tmp_path / "g") / "metrics.jsonl").unlink()
    (write_run(tmp_path / "h") / "metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    assert compare.main([str(tmp_path), str(tmp_path / ".")]) == 0
    printed = capsys.readouterr()
    (row,) = printed_rows(printed.out)
    assert row[3:5] == ["2", "0.26"]  # of 0.02 and 0.5
    assert row[-2] == "3e-07"
    assert [line.split(":")[0][-1] for line in printed.err.splitlines()] == ["e", "f", "g", "h"]
    assert "the loss is nan" not in printed.out  # that seed has finished since


def test_the_later_of_two_runs_of_a_seed_counts_in_winter_too(tmp_path, capsys):
    for name, started, loss in (
        ("before", "2025-10-26T02:50:00+02:00", 0.25),
        ("after", "2025-10-26T02:10:00+01:00", 0.125),  # twenty minutes later
    ):
        write_run(tmp_path / name, started=started, values=(1.0, loss))
    compare.main([str(tmp_path)])
    (row,) = printed_rows(capsys.readouterr().out)
    assert row[3:5] == ["1", "0.125"]


def test_what_did_not_finish_is_counted_and_listed_with_its_error(tmp_path, capsys):
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, status="failed", error="OSError: disk\nfull")
    write_run(tmp_path / "c", seed=2, status="failed")
    write_run(tmp_path / "d", seed=3, status="running", error=None)
    write_run(tmp_path / "e", seed=4, status="interrupted", error="stopped by the user")
    empty = write_run(tmp_path / "f", seed=5, status="running", error=None)
    (empty / "metrics.jsonl").write_text("")
    compare.main([str(tmp_path)])
    printed = capsys.readouterr().out
    (row,) = printed_rows(printed)
    assert row[3] == "1, 2 failed, 1 interrupted, 2 unfinished"
    assert printed.count("\nfailed: ") == 2
    for line in (
        f"failed: ortho, seed 1: OSError: disk ({tmp_path / 'b'})",
        f"failed: ortho, seed 2: the loss is nan at step 4 ({tmp_path / 'c'})",
        f"unfinished: ortho, seed 3: at step 3 ({tmp_path / 'd'})",
        f"interrupted: ortho, seed 4: stopped by the user ({tmp_path / 'e'})",
        f"unfinished: ortho, seed 5: before the first step ({tmp_path / 'f'})",
    ):
        assert line in printed.splitlines()


def test_the_best_come_first_and_the_others_say_how_they_stand_to_it(tmp_path, capsys):
    three_seeds(tmp_path, "lstm", (0.1, 0.11, 0.12))
    three_seeds(tmp_path, "gru", (0.88, 0.92, 0.9))
    three_seeds(tmp_path, "ortho", (0.9, 0.95, 0.93))
    three_seeds(tmp_path, "rnn", (0.5, 0.6))
    compare.main([str(tmp_path)])
    printed = capsys.readouterr().out
    rows = {row[0]: row[-1] for row in printed_rows(printed)}
    assert list(rows) == ["ortho", "gru", "rnn", "lstm"]
    assert rows["ortho"] == "best"
    assert rows["gru"].startswith("≈ best, p = 0.")
    assert rows["rnn"] == "too few seeds"
    assert rows["lstm"] == "worse, p < 0.001"
    assert "≈ best: not distinguishable from the best group" in printed
    assert "Welch's t-test on the test recall" in printed
    assert "no spread" not in printed


def test_equal_scores_are_ranked_by_validation_and_a_lower_metric_can_be_the_better(
    tmp_path, capsys
):
    metrics = {"error": {"show": ".2f", "better": "lower"}}
    for model, error, last in (("gru", 1.0, 0.02), ("lstm", 1.0, 0.01), ("ortho", 0.5, 0.9)):
        for seed in range(3):
            other = {"metrics": metrics, "test": {"loss": 1.0, "error": error}}
            write_run(tmp_path / f"{model}{seed}", model, seed, (1.0, last), **other)
    compare.main([str(tmp_path)])
    rows = printed_rows(capsys.readouterr().out)
    assert [row[0] for row in rows] == ["ortho", "lstm", "gru"]
    assert [row[-1] for row in rows] == ["best", "no spread", "no spread"]


def test_without_metrics_the_logarithm_of_the_loss_decides(tmp_path, capsys):
    for model, scale in (("a", 1e-6), ("b", 1e-4)):
        for seed, factor in enumerate((1.0, 2.0, 30.0)):
            test = {"loss": scale * factor}
            write_run(tmp_path / f"{model}{seed}", model, seed, metrics={}, test=test)
    compare.main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed_rows(printed)[1][-1] == "worse, p = 0.035"  # of the losses themselves: 0.4
    assert "the logarithm of the test loss" in printed


def test_a_task_without_a_target_has_no_columns_of_it(tmp_path, capsys):
    write_run(tmp_path / "a", target_loss=None)
    write_run(tmp_path / "b", target_loss=1e-3, task="another")
    compare.main([str(tmp_path)])
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| model")]
    assert [("target" in line) for line in heads] == [False, True]


def test_many_seeds_are_summed_up_where_each_value_was_listed(tmp_path, capsys):
    for seed in range(7):
        last = (0.05, *[0.0005] * 9) if seed else (0.05, 0.05)
        write_run(tmp_path / str(seed), seed=seed, values=(*[1.0] * seed**2, *last))
    compare.main([str(tmp_path)])
    (row,) = printed_rows(capsys.readouterr().out)
    assert row[8] == "14 (3 to 38), 1 never"


def test_compare_refuses_what_holds_no_runs(tmp_path, capsys):
    for argument, text in ((tmp_path, "no runs below"), (tmp_path / "x", "not a folder")):
        with pytest.raises(SystemExit) as stop:
            compare.main([str(argument)])
        assert stop.value.code == 2
        assert text in capsys.readouterr().err


def test_comparing_loads_no_torch(tmp_path):
    write_run(tmp_path / "a")
    code = (
        "import sys; from benchmarks import compare; compare.main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(compare.__file__).resolve().parents[1]
    call = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(call, cwd=root, check=True, capture_output=True)
