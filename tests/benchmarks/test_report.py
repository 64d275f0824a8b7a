"""Records, summaries, comparison, figures, threads and the speed table."""

import json

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import compare, drift, records, speed
from benchmarks.confusion import Confusion
from benchmarks.plot import running_mean, scale_loss
from benchmarks.tasks.adding import Adding
from orthornn import Stiefel

CONFIG = {"seed": 0, "model": {"hidden_size": None}, "logger": {"mode": "offline"}}


def losses(*values):
    return [
        {"step": i, "loss": v, "seconds": 2.0 * i, "orthogonality_error": 1e-7 * i}
        for i, v in enumerate(values, start=1)
    ]


def write_run(folder, model="ortho", seed=0, values=(1.0, 0.05, 0.0005), status="finished"):
    folder.mkdir(parents=True)
    rows = losses(*values)
    rows[-1] |= {"validation_loss": values[-1], "validation_recall": 1.0}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    about = {
        "task": "copy memory, T = 5",
        "baseline": 0.1,
        "target_loss": 1e-3,
        "metrics": {"recall": {"show": ".1%", "better": "higher"}},
        "test": {"loss": values[-1], "recall": 0.5} if status == "finished" else None,
        "model": model,
        "hidden_size": 8,
        "parameters": 1234,
        "seed": seed,
        "started": folder.name,
        "threads": 1,
        "status": status,
        "error": None if status == "finished" else "the loss is nan at step 4",
        "config": {**CONFIG, "seed": seed, "model": {"name": model}},
        "summary": records.summarise(rows, 0.1, 1e-3),
        "solved": status == "finished",
    }
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def test_summary_finds_the_first_steps_below():
    summary = records.summarise(losses(1.0, 0.097, 0.094, 0.0009, 0.0008), 0.1, 1e-3)
    assert summary["steps"] == 5
    assert summary["steps_below_baseline"] == 3
    assert summary["seconds_below_baseline"] == 6.0
    assert summary["steps_to_target"] == 4
    assert summary["steps_per_second"] == 0.5
    assert summary["largest_orthogonality_error"] == pytest.approx(5e-7)
    assert records.summarise(losses(1.0), 0.1, 1e-3)["steps_to_target"] is None
    assert records.summarise([], 0.1, 1e-3)["steps"] == 0


def test_one_easy_batch_is_not_below_the_baseline():
    noisy = [1.0, 0.01, *[1.0] * 9, 0.01, 0.01, 5.0, *[0.01, 0.01, 5.0, 0.01] * 4]
    assert records.first_below(losses(*noisy), 0.1)["step"] == 12
    assert records.first_below(losses(*noisy, *[1.0] * 9), 0.1) is None  # lost again
    assert records.first_below(losses(1.0, *[0.01] * 12), 0.1)["step"] == 2
    assert records.first_below(losses(*[0.01] * 12), 0.1)["step"] == 1
    assert records.first_below(losses(0.01, 1.0, 1.0), 0.1) is None
    assert records.first_below(losses(0.01, float("nan"), float("nan")), 0.1) is None
    assert records.first_below(losses(0.01), None) is None
    assert records.first_below([], 0.1) is None


@pytest.mark.parametrize("seed", range(6))
def test_a_blind_predictor_of_sums_does_not_beat_its_own_baseline(seed):
    task = Adding(length=20)
    generator = torch.Generator().manual_seed(seed)
    blind = [
        task.loss(torch.ones(50, 1), task.draw(50, generator).target).item() for _ in range(3000)
    ]
    assert records.first_below(losses(*blind), 0.95 / 6) is None


def test_a_line_cut_short_is_left_out(tmp_path):
    folder = write_run(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [r["step"] for r in records.read(folder).records] == [1, 2, 3]


def test_description_says_what_happened(tmp_path):
    folder = write_run(tmp_path / "a")
    text = records.describe(records.read(folder).about, folder)
    assert "solved after 3 steps" in text
    assert "step 2 (4 s)" in text
    folder = write_run(tmp_path / "b", status="failed", values=(1.0, 2.0))
    text = records.describe(records.read(folder).about, folder)
    assert "failed: the loss is nan at step 4" in text
    assert "never" in text


def test_runs_that_differ_by_the_seed_alone_form_a_group(tmp_path, capsys):
    for model, best in (("lstm", 0.09), ("ortho", 0.0005)):
        for seed in range(3):
            write_run(tmp_path / f"{model}{seed}", model, seed, (1.0, 0.05, best * (1 + seed / 9)))
    write_run(tmp_path / "gru", "gru", status="failed", values=(1.0, 3.0))
    assert compare.main([str(tmp_path), "--figures", str(tmp_path / "figures")]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| ")][2:]
    assert [row.split("|")[1].strip() for row in rows] == ["ortho", "lstm", "gru"]
    assert rows[0].count("5.56e-04 [5.00e-04, 6.11e-04]") == 2  # validation and test
    assert "50.0% [50.0%, 50.0%]" in rows[0]
    assert "3, 3, 3" in rows[0]
    assert "never, never, never" in rows[1]
    assert [cell.strip() for cell in rows[2].split("|")[4:6]] == ["0, 1 failed", "-"]
    assert (tmp_path / "figures" / "compare-1.png").read_bytes().startswith(b"\x89PNG")


def test_groups_are_named_by_what_tells_them_apart_and_failed_runs_enter_no_mean(tmp_path, capsys):
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            last = 7.0 if (lr, seed) == (0.2, 1) else lr / 100
            folder = write_run(tmp_path / f"{lr}-{seed}", seed=seed, values=(1.0, last))
            about = json.loads((folder / "run.json").read_text())
            about["config"]["optimizer"] = {"lr": lr, "algorithm": {"alpha": 0.9}}
            if (lr, seed) == (0.2, 1):
                about["status"] = "failed"
            (folder / "run.json").write_text(json.dumps(about))
    compare.main([str(tmp_path), "--figures", str(tmp_path)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ortho")]
    cells = [[cell.strip() for cell in row.split("|")[1:6]] for row in rows]
    assert [row[0] for row in cells] == ["ortho, lr=0.1", "ortho, lr=0.2"]
    assert [row[3] for row in cells] == ["2", "1, 1 failed"]
    assert [row[4] for row in cells] == ["1.00e-03", "2.00e-03"]


@pytest.mark.parametrize(
    ("key", "groups"),
    [("clip", 2), ("evaluate_every", 2), ("patience", 2), ("diagnose_every", 1), ("save_every", 1)],
)
def test_only_what_can_change_a_result_tells_groups_apart(key, groups, tmp_path, capsys):
    for seed, value in enumerate((1, 2)):
        folder = write_run(tmp_path / str(value), seed=seed)
        about = json.loads((folder / "run.json").read_text())
        about["config"]["train"] = {key: value}
        about["config"]["orthogonal"] = {"init": value}  # which the keys of model follow
        (folder / "run.json").write_text(json.dumps(about))
    compare.main([str(tmp_path)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ortho")]
    assert len(rows) == groups


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
    (row,) = (line for line in printed.out.splitlines() if line.startswith("| ortho"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[4:6] == ["2", "0.26"]  # of 0.02 and 0.5
    assert cells[-2] == "3e-07"
    assert [line.split(":")[0][-1] for line in printed.err.splitlines()] == ["e", "f", "g", "h"]


@pytest.mark.parametrize(
    ("loss", "text"), [(0.25, "0.25"), (12.34567, "12.35"), (0.0012, "1.20e-03"), (1e7, "1.00e+07")]
)
def test_a_loss_reads_well_at_any_size(loss, text):
    assert records.show_loss(loss) == text


def test_a_task_without_a_target_is_neither_solved_nor_not(tmp_path, capsys):
    folder = write_run(tmp_path / "a")
    about = {**records.read(folder).about, "target_loss": None, "solved": False}
    about["metrics"] = {"bits_per_character": {"show": ".3f", "better": "lower"}}
    about["test"] = {"loss": 1.0, "bits_per_character": 1.4427}
    about["summary"] = records.summarise(losses(1.0, 0.05), 0.1, None)
    text = records.describe(about, folder)
    assert "finished after 2 steps" in text
    assert "below the target" not in text
    assert "test, best weights:    loss 1, bits per character 1.443" in text
    (tmp_path / "a" / "run.json").write_text(json.dumps(about))
    assert compare.main([str(tmp_path)]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| ortho"))
    assert "never" not in row


def test_running_mean_looks_back_over_a_hundredth():
    values = torch.randn(350).tolist()
    means = running_mean(values)
    assert means[:3] == pytest.approx([values[0], sum(values[:2]) / 2, sum(values[:3]) / 3])
    assert means[200] == pytest.approx(sum(values[198:201]) / 3)
    assert running_mean(values[:50]) == pytest.approx(values[:50])


def test_a_first_spike_does_not_fill_the_figure_and_a_fall_by_far_is_on_a_log_scale():
    axes = Figure().add_subplot()
    scale_loss(axes, [50.0, *[2.0] * 100, *[1.0] * 100], 2.4)
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim() == pytest.approx((0.9, 2.64))
    scale_loss(axes, [2.0] * 100 + [0.01] * 10, 2.4)
    assert axes.get_yscale() == "log"
    scale_loss(axes, [], 2.4)


def test_confusion_counts_what_was_taken_for_what(tmp_path):
    confusion = Confusion(("a", "b", "c"))
    for answers, targets in (([0, 1, 1], [0, 1, 2]), ([2, 0], [2, 2])):
        output = torch.nn.functional.one_hot(torch.tensor(answers), 3).float()
        confusion.see(output, torch.tensor(targets))
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    confusion.plot("letters", tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_the_largest_drift_is_largest_as_a_number():
    assert compare._largest([9e-7, 4e-6]) == "4e-06"
    assert compare._largest([]) == "-"


def test_interval_covers_the_mean_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(100):
        low, high = compare.interval(torch.randn(30, generator=generator).tolist())
        hits += low < 0 < high
    assert 85 <= hits <= 100
    assert compare.interval([1.0, 2.0]) is None
    assert compare.interval([2.0] * 5) == (2.0, 2.0)


def test_compare_refuses_what_holds_no_runs(tmp_path, capsys):
    for argument, text in ((tmp_path, "no runs below"), (tmp_path / "x", "not a folder")):
        with pytest.raises(SystemExit) as stop:
            compare.main([str(argument)])
        assert stop.value.code == 2
        assert text in capsys.readouterr().err


def test_speed_prints_ratios_to_its_peers(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert speed.main(["--quick", "--repeats", "2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "1 thread(s)" in printed
    assert "1.00 x nn.RNN relu" in printed
    assert "1.00 x geoopt RiemannianAdam, QR" in printed
    report = json.loads(path.read_text())
    assert all(len(values) == 2 for table in report.values() for values in table.values())
    assert "1.00 x geoopt QR" in printed
    assert speed.main(["--quick", "--repeats", "1", "--parts", "retractions"]) == 0
    assert "nn.RNN" not in capsys.readouterr().out


def test_drift_stands_every_mode_beside_geoopt(tmp_path, capsys):
    path = tmp_path / "drift.json"
    options = ["--size", "16", "--steps", "200", "--lr", "0.01", "--json", str(path)]
    assert drift.main(options) == 0
    found = {row["name"]: row for row in json.loads(path.read_text())}
    ours = [row for name, row in found.items() if "geoopt" not in name]
    assert len(ours) == len(drift.MODES)
    assert max(row["worst"] for row in ours) < 1e-6
    assert max(row["power"] for row in ours) < 1.01
    assert found["geoopt canonical (its default)"]["worst"] > 1e-6  # the peer shows that it can
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(found)


def test_drift_shows_a_weight_that_is_lost():
    class Lost(torch.optim.SGD):
        def step(self):
            self.param_groups[0]["params"][0].data.fill_(float("nan"))

    lost = drift.drift(Stiefel(), Lost, 0.1, 4, 5, "float32")
    assert lost.worst == float("inf")
