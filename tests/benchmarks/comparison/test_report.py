"""Records, summaries, figures and the drift table."""

import json

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import drift
from benchmarks.diagnostics.confusion_matrix import ConfusionMatrix
from benchmarks.diagnostics.figures import running_mean, scale_loss
from benchmarks.records import run
from benchmarks.records.summary import first_below, summarise
from benchmarks.records.text import show_loss
from benchmarks.runs.text import format_summary
from benchmarks.tasks.adding import Adding
from orthornn import Stiefel
from tests.benchmarks.fake_runs import losses, write_records, write_run


def test_a_summary_says_how_far_a_curriculum_came():
    stages = [(2, 4.0)] * 30 + [(4, 5.0)] * 10 + [(4, 1.0)] * 20
    records = [
        {"step": k, "loss": loss, "length": length, "seconds": float(k)}
        for k, (length, loss) in enumerate(stages, 1)
    ]
    summary = summarise(records, baseline=4.8, target_loss=None)
    assert (summary["stage_length"], summary["stage_loss"]) == (4, 1.0)
    assert "stage_length" not in summarise([{"step": 1, "loss": 1.0, "seconds": 1.0}], 4.8, None)


def test_summary_finds_the_first_steps_below():
    summary = summarise(losses(1.0, 0.097, 0.094, 0.0009, 0.0008), 0.1, 1e-3)
    assert summary["steps"] == 5
    assert summary["steps_below_baseline"] == 3
    assert summary["seconds_below_baseline"] == 6.0
    assert summary["steps_to_target"] == 4
    assert summary["steps_per_second"] == 0.5
    assert summary["largest_orthogonality_error"] == pytest.approx(5e-7)
    assert summarise(losses(1.0), 0.1, 1e-3)["steps_to_target"] is None
    assert summarise([], 0.1, 1e-3)["steps"] == 0


def test_one_easy_batch_is_not_below_the_baseline():
    noisy = [1.0, 0.01, *[1.0] * 9, 0.01, 0.01, 5.0, *[0.01, 0.01, 5.0, 0.01] * 4]
    assert first_below(losses(*noisy), 0.1)["step"] == 12
    assert first_below(losses(*noisy, *[1.0] * 9), 0.1) is None  # lost again
    assert first_below(losses(1.0, *[0.01] * 12), 0.1)["step"] == 2
    assert first_below(losses(*[0.01] * 12), 0.1)["step"] == 1
    assert first_below(losses(0.01, 1.0, 1.0), 0.1) is None
    assert first_below(losses(0.01, float("nan"), float("nan")), 0.1) is None
    assert first_below(losses(0.01), None) is None
    assert first_below([], 0.1) is None


@pytest.mark.parametrize("seed", range(6))
def test_a_blind_predictor_of_sums_does_not_beat_its_own_baseline(seed):
    task = Adding(length=20)
    generator = torch.Generator().manual_seed(seed)
    blind = [
        task.loss(torch.ones(50, 1), task.draw(50, generator).target).item() for _ in range(3000)
    ]
    assert first_below(losses(*blind), 0.95 / 6) is None


def test_a_line_cut_short_is_left_out(tmp_path):
    folder = write_run(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [r["step"] for r in run.read_run(folder).records] == [1, 2, 3]


def test_description_says_what_happened(tmp_path):
    folder = write_run(tmp_path / "a")
    text = format_summary(run.read_run(folder).metadata, folder)
    assert "solved after 3 steps" in text
    assert "step 2 (4 s)" in text
    folder = write_run(tmp_path / "b", status="failed", values=(1.0, 2.0))
    text = format_summary(run.read_run(folder).metadata, folder)
    assert "failed: the loss is nan at step 4" in text
    assert "never" in text


def test_a_task_without_a_target_is_neither_solved_nor_not(tmp_path):
    folder = write_run(
        tmp_path / "a",
        target_loss=None,
        solved=False,
        metrics={"bits_per_character": {"show": ".3f", "better": "lower"}},
        test={"loss": 1.0, "bits_per_character": 1.4427},
        summary=summarise(losses(1.0, 0.05), 0.1, None),
    )
    text = format_summary(run.read_run(folder).metadata, folder)
    assert "finished after 2 steps" in text
    assert "below the target" not in text
    assert "test, best weights:    loss 1, bits per character 1.443" in text


def test_earlier_attempts_and_what_is_no_folder_are_not_found(tmp_path):
    last = write_run(tmp_path / "a")
    write_run(last / "earlier" / "1")
    write_run(tmp_path / "earlier" / "b")
    kept = write_run(tmp_path / "c" / "d")
    assert run.find_runs([tmp_path, tmp_path / "c", tmp_path / "x"]) == [last, kept]
    assert run.find_runs([last / "earlier"]) == [last / "earlier" / "1"]  # where it is asked for


@pytest.mark.parametrize(
    "text", ['{"step": 1\n"loss": 2}\n', "3\n", '{"step": 1} {}\n', "{}, {}\n"]
)
def test_lines_that_are_no_records_are_refused(text, tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"line|JSON|delimiter"):
        run.read_run(folder)


def test_records_may_hold_numbers_that_are_not_finite(tmp_path):
    folder = write_run(tmp_path / "a")
    write_records(folder, [{"step": 1, "loss": float("inf")}])
    assert run.read_run(folder).records == [{"step": 1, "loss": float("inf")}]
    (folder / "metrics.jsonl").write_text("")
    assert run.read_run(folder).records == []


@pytest.mark.parametrize(
    ("loss", "text"), [(0.25, "0.25"), (12.34567, "12.35"), (0.0012, "1.20e-03"), (1e7, "1.00e+07")]
)
def test_a_loss_reads_well_at_any_size(loss, text):
    assert show_loss(loss) == text


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
    confusion = ConfusionMatrix(("a", "b", "c"))
    for answers, targets in (([0, 1, 1], [0, 1, 2]), ([2, 0], [2, 2])):
        output = torch.nn.functional.one_hot(torch.tensor(answers), 3).float()
        confusion.see(output, torch.tensor(targets))
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    confusion.plot("letters", tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_drift_stands_every_mode_beside_geoopt(tmp_path, capsys):
    path = tmp_path / "drift.json"
    options = ["--size", "16", "--steps", "200", "--lr", "0.01", "--json", str(path)]
    assert drift.main(options) == 0
    found = {row["name"]: row for row in json.loads(path.read_text())}
    ours = [row for name, row in found.items() if "geoopt" not in name]
    assert len(ours) == len(drift.MODES)
    assert max(row["norm"] for row in ours) < 1e-5
    assert max(row["worst"] for row in ours) < 1e-6
    assert max(row["power"] for row in ours) < 1.01
    assert found["geoopt canonical (its default)"]["worst"] > 1e-6  # the peer shows that it can
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(found)


def test_drift_shows_a_weight_that_is_lost():
    class Lost(torch.optim.SGD):
        def step(self):
            self.param_groups[0]["params"][0].data.fill_(float("nan"))

    lost = drift.measure_drift(Stiefel(), Lost, 0.1, 4, 5, "float32")
    assert lost.norm == lost.worst == float("inf")


def test_drift_runs_one_mode_alone_and_tells_its_progress(tmp_path, capsys):
    assert drift.main(["--modes", "Adam", "--peers", "--lr", "0.1", "--steps", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    told = []
    drift.measure_drift(Stiefel(), drift.MODES["Adam"], 0.1, 4, 1001, "float32", told.append)
    assert sum(told) == 1001
    for wrong in (["--lr", "nan"], ["--lr", "-1"], ["--json", str(tmp_path / "no" / "x.json")]):
        with pytest.raises(SystemExit):
            drift.main(wrong)
        assert wrong[0] in capsys.readouterr().err
