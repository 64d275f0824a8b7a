"""The W&B workspace: it shows what the runs log, is made offline and saved with a key."""

import json
import os
import socket
import subprocess
import sys

import pytest

from benchmarks import dashboard
from tests.benchmarks.commandline import CONF, TINY
from tests.benchmarks.wandb_server import serving


@pytest.fixture
def lonely(tmp_path, monkeypatch):
    """No key, no network, and a folder of its own."""

    def unreachable(*_):
        raise AssertionError("something asked the network")

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sections(path):
    """The configurations of the panels of each section of a written workspace."""
    bank = json.loads(path.read_text(encoding="utf-8"))["spec"]["section"]["panelBankConfig"]
    return {s["name"]: [panel["config"] for panel in s["panels"]] for s in bank["sections"]}


def test_a_workspace_is_written_without_network_or_key(lonely, capsys):
    assert dashboard.main([]) == 0
    path = lonely / "runs" / "workspace.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["project"] == "orthornn"
    (runs,) = written["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["jobType", "group"]
    assert list(sections(path)) == [*sorted(TINY), "runs and pictures"]
    printed = capsys.readouterr().out
    assert f"written to {path.relative_to(lonely)}" in printed
    assert "wandb login" in printed


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", TINY)
def test_a_section_shows_what_the_runs_of_its_benchmark_log(command, name):
    quick = ["train.gradient_flow_every=3", "logger=offline"]
    (folder,) = command(*TINY[name], *quick, name=name)
    (run,) = (folder / "wandb").glob("offline-run-*")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    done = subprocess.run(inspect, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    logged = {key for row in rows if row["type"] == "history" for key in row["history"]["item"]}
    (definition,) = [
        r["metric"]
        for r in rows
        if r["type"] == "metric" and r["metric"].get("name") == f"{name}/step"
    ]
    assert definition["options"]["hidden"]

    assert dashboard.main(["--spec", "w.json", "--runs", "none"]) == 0
    shown = {
        key for panel in sections(folder.parents[2] / "w.json")[name] for key in panel["metrics"]
    }
    absent = {key for key in shown if key.startswith("flow/")} if name == "tagging" else set()
    absent |= {"flow/saturation"} if name == "state_tracking" else set()  # nothing saturates
    assert shown - absent <= logged  # two directions have no one flow of gradients
    records = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(records) - {"step", "epoch", "seconds", "penalty"} <= shown
    assert f"{name}/steps_per_second" in shown


def test_curves_are_grouped_by_setting_with_a_band_over_seeds(lonely):
    dashboard.main(["--spec", "w.json"])
    found = sections(lonely / "w.json")
    for name in TINY:
        for panel in found[name]:
            assert panel["groupBy"] == "group"
            assert (panel["groupAgg"], panel["groupArea"]) == ("mean", "minmax")
            assert panel.get("xAxis", f"{name}/step") == f"{name}/step"
    logarithmic = {name: found[name][0].get("yLogScale") for name in ("copy", "language")}
    assert logarithmic == {"copy": True, "language": None}


def test_scores_that_only_local_runs_have_are_shown_too(lonely, capsys):
    about = {"config": {"name": "language"}, "metrics": {"perplexity": {}}, "task": "t"}
    about |= {"model": "m", "seed": 0, "status": "s", "started": "", "baseline": 1, "test": None}
    about |= {"hidden_size": 1, "parameters": 1}
    for name, text in (("words", json.dumps(about | {"target_loss": None})), ("damaged", "{")):
        folder = lonely / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(text)
        (folder / "metrics.jsonl").write_text("")
    assert dashboard.main([]) == 0
    panels = sections(lonely / "runs" / "workspace.json")["language"]
    shown = {key for panel in panels for key in panel["metrics"]}
    assert shown >= {"validation_perplexity", "validation_bits_per_character"}
    assert "skipped" in capsys.readouterr().err


@pytest.mark.slow
def test_a_workspace_is_saved_where_there_is_a_key(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with serving() as server:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.dashboard", "--project", "ours"],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(CONF.parent), **server.environment},
            capture_output=True,
            text=True,
            check=True,
        )
    assert (server.view["entityName"], server.view["projectName"]) == ("me", "ours")  # the key's
    written = json.loads((tmp_path / "runs" / "workspace.json").read_text(encoding="utf-8"))
    assert json.loads(server.view["spec"]) == written["spec"]
    assert "login" not in done.stdout
    assert not any("otel" in request for request in server.requests)


def test_a_key_is_found_where_wandb_login_puts_it(lonely, monkeypatch):
    assert not dashboard.has_key()
    monkeypatch.setenv("NETRC", str(lonely / "netrc"))
    (lonely / "netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
    assert dashboard.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://elsewhere")
    assert not dashboard.has_key()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert dashboard.has_key()


def test_what_wandb_does_not_take_is_one_line(lonely, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "not a key")
    assert dashboard.main(["--entity", "me"]) == 1
    assert (lonely / "runs" / "workspace.json").exists()
    (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("wandb: ")]
    assert line.startswith("error: W&B did not take the workspace (")


def test_without_its_extra_the_dashboard_says_how_to_install_it(lonely, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(SystemExit) as stop:
        dashboard.main([])
    assert stop.value.code == 2
    assert 'pip install -e ".[dashboard]"' in capsys.readouterr().err
