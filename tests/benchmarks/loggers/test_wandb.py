"""W&B: what was logged is what was meant."""

import html
import math
import re
import subprocess
import sys

import pytest
import yaml

from benchmarks.loggers import RunIdentity, WandbLogger
from benchmarks.loggers.wandb_files import offline_files, run_id, shorten
from benchmarks.loggers.wandb_rows import best_and_last
from benchmarks.runs.text import format_summary
from benchmarks.tasks.task import Metric
from tests import forks
from tests.benchmarks.commandline import CONF, TINY, load
from tests.benchmarks.wandb_runs import alone, inspected, logs, of_type
from tests.benchmarks.wandb_server import serving


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A run of the language benchmark, by its command line."""
    folder = tmp_path_factory.mktemp("language")
    tiny = [*TINY["language"], "train.gradient_flow_every=100", "optimizer.lr=0.5", "seed=3"]
    run = ("language", [*tiny, "hydra.run.dir=run"])
    forks.start(forks.benchmark, *run, folder=folder, environment=alone()).join(100)
    return folder / "run", inspected(folder / "run")


def test_wandb_run_holds_the_records(language):
    folder, rows = language
    history = [row["item"] for row in of_type(rows, "history")]
    records = load(folder)[1]
    assert len(history) == len(records) == 3
    for logged, record in zip(history, records, strict=True):
        assert record.items() <= logged.items()
        assert logged["language/step"] == record["step"]
    assert history[-1]["figure.format"] == "png"
    assert "flow/gradients.format" not in history[0]  # drawn at the end alone
    assert history[-1]["gradients.format"] == "png"
    assert history[0]["flow/log10_jacobian._type"] == "histogram"
    low, high = (history[0]["flow/log10_jacobian.bins"][k] for k in (0, -1))
    assert low <= math.log10(history[0]["flow/jacobian_largest"]) <= high + 1e-6
    assert "flow/jacobian_largest" in history[-1]  # the last step is always looked at


def test_wandb_holds_the_text_that_the_model_wrote(language):
    folder, rows = language
    last = of_type(rows, "history")[-1]["item"]
    (run,) = (folder / "wandb").glob("offline-run-*")
    page = (run / "files" / last["sample.path"]).read_text(encoding="utf-8")
    text = (folder / "sample.txt").read_text(encoding="utf-8")
    assert len(text) == 400
    assert f"<pre>{html.escape(text)}</pre>" in page


def test_a_run_can_be_found_and_compared_in_wandb(language):
    folder, rows = language
    about, _ = load(folder)
    (start,) = of_type(rows, "run")
    assert "resume" not in start  # so that it can be synced twice
    assert start["project"] == "orthornn"
    assert start["job_type"] == "language"
    assert re.fullmatch(r"ortho, .*optimizer.lr=0.5, seed 3", start["display_name"])
    assert re.fullmatch(r"ortho, .*optimizer.lr=0.5 \([0-9a-f]{10}\)", start["run_group"])
    assert start["tags"] == [shorten(about["task"], 64), "ortho"]
    config = start["config"]["update"]
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert {key: config[key] for key in saved} == saved
    assert config["parameters"] == about["parameters"]
    assert config["versions"] == about["versions"]
    assert not [f for f in of_type(rows, "files") if "artifact" in str(f)]


def test_the_summary_keeps_the_best_and_the_last_of_each_curve(language):
    folder, rows = language
    about, records = load(folder)
    summary = {}
    for row in of_type(rows, "summary"):
        summary |= row["update"]
    for name in ("loss", "bits_per_character"):
        values = [record[name] for record in records]
        assert summary[name] == {"last": values[-1], "min": min(values)}
    drifts = [record["orthogonality_error"] for record in records]
    assert summary["orthogonality_error"] == {"last": drifts[-1], "max": max(drifts)}
    assert summary["validation_loss"].keys() == {"last", "min"}
    assert summary["test_loss"] == about["test"]["loss"]
    assert summary["status"] == "finished"
    axes = {m["name"]: m.get("step_metric") for m in of_type(rows, "metric") if "name" in m}
    assert axes["loss"] == axes["validation_loss"] == "step"


def test_a_higher_score_is_the_better_where_the_task_says_so(tmp_path):
    metrics = {"recall": Metric(".1%"), "perplexity": Metric(".1f", "lower")}
    identity = RunIdentity(tmp_path, "n", "g", "copy", ("t" * 99,), {}, metrics)
    WandbLogger(identity, project="p", mode="offline").close({"status": "finished"}, {})
    rows = inspected(tmp_path)
    kept = {m["name"]: m["summary"] for m in of_type(rows, "metric") if "summary" in m}
    assert kept["validation_recall"] == {"last": True, "max": True}
    assert kept["validation_perplexity"] == {"last": True, "min": True}
    assert len(of_type(rows, "run")[0]["tags"][0]) == 64  # the server's limit


def test_the_commit_is_that_of_the_project_wherever_the_user_stands(language):
    folder, rows = language
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CONF.parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    commits = [row["git"]["commit"] for row in of_type(rows, "environment") if "git" in row]
    assert commits == [head] * bool(head)
    code = load(folder)[0]["versions"]["code"]
    assert code.startswith(head[:7] or "unknown")


@pytest.mark.slow
def test_a_resumed_offline_run_is_one_file_without_gap_or_repetition(tmp_path):
    with serving() as server:
        logs(tmp_path, "offline", "killed", "1-5", **server.environment)
        assert offline_files(tmp_path) == []
        # from the checkpoints of steps 3 and 6
        done = logs(tmp_path, "offline", "", "4-8", "7-9", **server.environment)
        assert "ended" in done.stdout, done.stderr
        assert server.requests == []  # offline is offline
        (file,) = offline_files(tmp_path)
        for _ in range(2):  # a second time, it changes nothing
            command = [sys.executable, "-m", "wandb", "sync", str(file)]
            subprocess.run(
                command, env=alone(**server.environment), check=True, capture_output=True
            )
    rows = inspected(tmp_path)
    assert [row["item"]["step"] for row in of_type(rows, "history")] == list(range(1, 10))
    wanted = [(k, k, (1 if k <= 3 else 4 if k <= 6 else 7) / k) for k in range(1, 10)]
    assert [(row["_step"], row["step"], row["loss"]) for row in server.rows] == wanted
    assert server.summary["loss"] == {"last": 7 / 9, "min": 1 / 3}


def test_the_end_says_how_to_upload_what_is_not_there_yet(language, tmp_path):
    about, _ = load(language[0])
    (tmp_path / "wandb" / "run-1").mkdir(parents=True)
    command = f"online; `python -m benchmarks.upload {tmp_path}` adds what it lacks there"
    assert command in format_summary(about, tmp_path)
    offline = tmp_path / "wandb" / "offline-run-2"
    offline.mkdir()
    assert f"`wandb sync {offline}` uploads it" in format_summary(about, tmp_path)


def test_a_summary_has_the_best_of_finite_values():
    records = [{"loss": 2.0}, {"loss": math.nan, "recall": 0.5}, {"loss": 3.0}]
    kinds = {"loss": "min", "recall": "max", "gradient_norm": "max"}
    assert best_and_last(records, kinds) == {
        "loss": {"min": 2.0, "last": 3.0},
        "recall": {"max": 0.5, "last": 0.5},
    }


def test_a_resumed_online_run_goes_on_in_the_same_one(tmp_path):
    with serving() as server:
        environment = server.environment | {"WANDB_SILENT": "false"}
        done = logs(tmp_path, "online", "", "1-5", "4-8", **environment)
        assert "ended" in done.stdout, done.stderr
        assert "Tried to log" not in done.stderr  # what is there already
    wanted = [(k, k, (1 if k <= 5 else 4) / k) for k in range(1, 9)]
    assert [(row["_step"], row["step"], row["loss"]) for row in server.rows] == wanted
    assert server.summary["loss"] == {"last": 4 / 8, "min": 1 / 3}
    assert not any("otel" in request for request in server.requests)


def test_the_id_of_a_run_stays_and_that_of_an_agent_wins(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    first, second = tmp_path / "a", tmp_path / "b"
    assert run_id(first) == run_id(first) != run_id(second)
    (first / "wandb" / "id").write_text("")  # by a full disk
    assert re.fullmatch("[0-9a-f]{16}", run_id(first))
    monkeypatch.setenv("WANDB_RUN_ID", "agent")
    assert run_id(first) == "agent"
    monkeypatch.delenv("WANDB_RUN_ID")
    assert run_id(first) == "agent"  # an upload goes to the run that the agent began


def test_a_long_name_keeps_its_end():
    group = "ortho, " + "x" * 300 + " (3f9a1c20d7)"
    assert len(shorten(group, 128)) == 128
    assert shorten(group, 128).startswith("ortho, xxx")
    assert shorten(group, 128).endswith("xx (3f9a1c20d7)")
    assert shorten("short", 128) == "short"
