"""A W&B workspace for the benchmarks: ``python -m benchmarks.dashboard [--entity E]``.

A section per benchmark: its curves, one line per setting with a band over the seeds, then how far W
is from orthogonal, gradients and spectra, and speed. The workspace is written to a file, which
needs neither a network nor a key, and saved at W&B where there is a key.
"""

from __future__ import annotations

import argparse
import json
import netrc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .config.compose import CONF, compose
from .records import run
from .records.record import VALIDATION
from .runs.build import make_task
from .runs.config import RunConfig

SHOWN = 100  # groups in a panel
PROJECT = "orthornn"
MEDIA = ("figure", "gradients", "flow/gradients", "confusion", "accuracy", "states", "sample")


class Contents(NamedTuple):
    """What the runs of a benchmark log.

    Attributes:
        scores: their scores beside the loss.
        solvable: whether the loss falls by orders of magnitude, as where it has a target.
        staged: whether sequences grow in the course of a training.
    """

    scores: tuple[str, ...]
    solvable: bool
    staged: bool


class Curve(NamedTuple):
    """A panel: a logged number against the steps."""

    name: str
    log: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the workspace and save it where there is a key; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--entity", help="user or team of the workspace (default: the key's)")
    parser.add_argument("--project", default=PROJECT, help=f"W&B project (default: {PROJECT})")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="runs whose scores are shown too"
    )
    parser.add_argument("--spec", type=Path, help="file to write (default: RUNS/workspace.json)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError:
        parser.error('wandb-workspaces is not installed: pip install -e ".[dashboard]"')
    entity = options.entity or os.environ.get("WANDB_ENTITY", "")
    made = workspace(contents(options.runs), entity, options.project)
    path: Path = options.spec or options.runs / "workspace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec(made), indent=2) + "\n", encoding="utf-8")
    print(f"the workspace is written to {path}")
    if not has_key():
        print("no W&B key here: `wandb login`, then this command again, saves it at W&B")
        return 0
    return _save(made)


def contents(runs: Path) -> dict[str, Contents]:
    """What each benchmark logs: by its configuration, and by the runs in a folder."""
    found: dict[str, Contents] = {}
    for name in benchmarks():
        task = make_task(RunConfig.of(compose(name, [])))
        staged = task.make_curriculum() is not None
        found[name] = Contents(tuple(task.metrics), task.target_loss is not None, staged)
    for folder in run.find_runs([runs]):
        try:
            about = run.read_run(folder).metadata
        except (OSError, ValueError) as error:
            print(f"skipped {folder}: {error}", file=sys.stderr)
            continue
        name = about["config"].get("name")
        if name in found:
            scores = found[name].scores
            more = [score for score in about["metrics"] if score not in scores]
            found[name] = found[name]._replace(scores=(*scores, *more))
    return found


def benchmarks() -> list[str]:
    """The names of the benchmarks."""
    return sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "run")


def curves(what: Contents) -> list[Curve]:
    """The panels of a benchmark, in their order."""
    losses = [Curve("loss", what.solvable), Curve(f"{VALIDATION}loss", what.solvable)]
    scores = [Curve(name) for score in what.scores for name in (score, f"{VALIDATION}{score}")]
    optimization = [
        Curve("orthogonality_error", log=True),
        Curve("gradient_norm", log=True),
        Curve("learning_rate"),
    ]
    flow = [
        Curve("flow/gradient_first_to_last", log=True),
        Curve("flow/jacobian_largest", log=True),
        Curve("flow/jacobian_median", log=True),
        Curve("flow/singular_value_largest"),
        Curve("flow/singular_value_smallest"),
        Curve("flow/saturation"),
    ]
    course = [Curve("length", log=True)] if what.staged else []
    return [*losses, *scores, *course, *optimization, *flow]


def workspace(found: Mapping[str, Contents], entity: str, project: str) -> Any:
    """The workspace: runs by their groups, a section per benchmark, and all runs compared."""
    import wandb_workspaces.reports.v2.interface as panels
    import wandb_workspaces.workspaces as ws

    def line(benchmark: str, curve: Curve) -> Any:
        # an axis of the benchmark's own: a workspace has no other way to leave out other runs
        return panels.LinePlot(
            title=curve.name.rpartition("/")[2].replace("_", " "),
            x=f"{benchmark}/step",
            y=[curve.name],
            log_y=curve.log or None,
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=SHOWN,
        )

    def speed(benchmark: str) -> Any:
        return panels.BarPlot(
            title="steps per second",
            metrics=[f"{benchmark}/steps_per_second"],
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=SHOWN,
        )

    sections = [
        ws.Section(
            name=name,
            panels=[*(line(name, curve) for curve in curves(what)), speed(name)],
            is_open=True,
        )
        for name, what in found.items()
    ]
    everything: list[Any] = [panels.RunComparer(), panels.MediaBrowser(media_keys=list(MEDIA))]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="orthornn benchmarks",
        sections=[*sections, ws.Section(name="runs and pictures", panels=everything)],
        settings=ws.WorkspaceSettings(max_runs=SHOWN),
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("JobType"), ws.Metric("Group")]),
    )


def spec(made: Any) -> dict[str, Any]:
    """The workspace as W&B stores it."""
    view: dict[str, Any] = made._spec
    return {
        "entity": made.entity,
        "project": made.project,
        "name": made.name,
        "spec": view["spec"],
    }


def has_key() -> bool:
    """Whether W&B's key is in the environment or in the file where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        known = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc")
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators(host) is not None


def _save(made: Any) -> int:
    import wandb

    try:
        if not made.entity:
            made.entity = wandb.Api().default_entity
        made.save()
    except Exception as error:
        told = " ".join(str(error).split())
        print(f"error: W&B did not take the workspace ({told})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
