"""How far models go on a stream: columns of the table, curves over seeds, figures of both."""

import pytest

from benchmarks import compare
from benchmarks.comparison import figures
from benchmarks.comparison.curves import accuracy_curve
from benchmarks.records.run import read_run
from tests.benchmarks.fake_runs import write_run

SHOWN = {"show": ",.0f", "better": "higher"}
STREAM = {
    "metrics": {"horizon": SHOWN, "reduced_size": SHOWN, "reduced_horizon": SHOWN},
    "trained_length": 4,
    "limit": 16,
    "chance": 0.1,
}


def curve(*accuracies):
    return {"positions": [2**k for k in range(len(accuracies))], "accuracies": list(accuracies)}


def write(root, model, horizon, **curves):
    """Three seeds of a model."""
    for seed in range(3):
        test = {"loss": 0.1, "recall": 0.5, "horizon": horizon + seed}
        test |= {"reduced_size": 3.0, "reduced_horizon": 16.0} if "reduced" in curves else {}
        named = {name.replace("_", " "): values for name, values in curves.items()}
        folder = root / f"{model}-{seed}"
        write_run(folder, model, seed, test=test, curves=named, stream=STREAM)


def test_models_are_ranked_by_their_horizon_and_drawn(tmp_path, capsys):
    write(tmp_path, "gru", 1.0, as_trained=curve(1, 0.5, 0.1))
    write(tmp_path, "switched", 9.0, as_trained=curve(1, 1, 1, 0.4), reduced=curve(1, 1, 1, 1, 1))
    assert compare.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    assert "test horizon" in lines[0]
    assert "test reduced horizon" in lines[0]
    assert [line.split()[1] for line in lines[2:4]] == ["switched", "gru"]
    path = tmp_path / "compare-1-accuracy.png"
    assert f"accuracy against position: {path}" in printed
    assert path.stat().st_size > 10_000


def test_columns_of_reductions_are_left_out_where_nothing_was_reduced(tmp_path, capsys):
    write(tmp_path, "gru", 1.0, as_trained=curve(1, 0.5, 0.1))
    compare.main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "test horizon" in printed
    assert "reduced" not in printed


def test_tasks_without_a_stream_have_no_such_figure(tmp_path, capsys):
    write_run(tmp_path / "a")
    compare.main([str(tmp_path)])
    assert "accuracy against position" not in capsys.readouterr().out
    assert not (tmp_path / "compare-1-accuracy.png").exists()


def test_a_curve_is_over_the_positions_that_all_seeds_reach(tmp_path):
    for seed, accuracies in enumerate([(1, 0.8, 0.2), (1, 1, 0.6, 0.4), (1, 0.9, 0.1)]):
        named = {"as trained": curve(*accuracies)}
        write_run(tmp_path / str(seed), "switched", seed, curves=named)
    runs = [read_run(tmp_path / str(seed)) for seed in range(3)]
    drawn = accuracy_curve(runs, "as trained")
    assert drawn.x.tolist() == [1, 2, 4]
    assert drawn.middle.tolist() == pytest.approx([1, 0.9, 0.2])
    assert drawn.low.tolist() == pytest.approx([1, 0.8, 0.1])
    assert drawn.high.tolist() == pytest.approx([1, 1, 0.6])
    assert accuracy_curve(runs, "reduced") is None


def test_every_length_has_its_column_whichever_run_comes_first(tmp_path, capsys):
    share = {"show": ".1%", "better": "higher"}
    for name, longest in (("a", 64), ("b", 256), ("c", 64)):
        lengths = [n for n in (64, 256) if n <= longest]
        stream = STREAM | {
            "metrics": {"horizon": SHOWN} | {f"accuracy_{n}": share for n in lengths}
        }
        test = {"loss": 0.1, "recall": 0.5, "horizon": 7.0} | {
            f"accuracy_{n}": 0.5 for n in lengths
        }
        write_run(tmp_path / name, name, 0, test=test, stream=stream)
    compare.main([str(tmp_path)])
    head = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| "))
    assert "test accuracy 64 " in head
    assert "test accuracy 256 " in head


def test_long_names_of_groups_stand_within_the_figure(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, path: drawn.append(figure))
    for k in range(3):
        named = {"as trained": curve(1, 0.5, 0.1)}
        keys = {f"a_long_name_of_a_key_{j}": k for j in range(8)}
        write_run(tmp_path / str(k), "gru", 0, curves=named, stream=STREAM, config={"task": keys})
    monkeypatch.setattr(compare, "plot_learning_curves", lambda table, path: None)
    compare.main([str(tmp_path)])
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert legend.get_texts()[0].get_text().endswith("seed")
