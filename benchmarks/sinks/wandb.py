"""Records in Weights & Biases."""

from __future__ import annotations

import contextlib
import html
import json
import math
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.code_version import ROOT
from benchmarks.flow import LEAST, Flow
from benchmarks.record import VALIDATION, Record
from benchmarks.tasks.task import Metric

from .sink import Identity

NAME, TAG = 128, 64  # characters that the server takes
ENDING = 40  # characters of a long name that are kept at its end, where the fingerprint is


class Wandb:
    """A Weights & Biases run, offline by default: no account and no network are needed.

    The run's id lies in ``wandb/id``, so a resumed run goes on in the same one: online at once,
    offline as a second folder, which ``wandb sync`` appends to the first. Rows that W&B has are not
    logged twice, and those that it lost when the run was killed, up to fifteen seconds, are taken
    from ``metrics.jsonl``. The id of a sweep's agent (``WANDB_RUN_ID``) takes precedence.

    Nothing that happens to W&B once the training has begun ends it: the sink says so in one line
    and takes no more. Beside the record, every row has ``BENCHMARK/step`` and
    ``BENCHMARK/steps_per_second``: an axis that belongs to the runs of one benchmark alone. W&B's
    own reports of errors and use are off unless ``WANDB_ERROR_REPORTING`` asks for them: they are
    sent in offline mode too, and make a process wait for a server that does not answer.

    Args:
        identity: which run it is.
        project: W&B project.
        mode: ``"online"`` or ``"offline"``.
        timeout: seconds to wait for the server at the start and at the end.

    Raises:
        ValueError: if W&B cannot start, for lack of a key or of a network, say.
    """

    def __init__(self, identity: Identity, *, project: str, mode: str, timeout: float = 30) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.wandb = wandb
        self.benchmark, self.records = identity.job_type, identity.folder / "metrics.jsonl"
        self.kept = kept(identity.metrics)
        self.lost = False
        parts = sorted((identity.folder / "wandb").glob("*run-*"))
        known = last_row(parts) if mode == "offline" else 0
        self.resumed = bool(parts or identity.step)
        try:
            self.run = wandb.init(
                project=project,
                mode=mode,  # type: ignore[arg-type]
                dir=identity.folder,
                id=run_id(identity.folder),
                # a first part that says so would be appended to itself when it is synced again
                resume="allow" if self.resumed else None,
                name=shorten(identity.name, NAME),
                group=shorten(identity.group, NAME),
                job_type=identity.job_type,
                tags=[shorten(tag, TAG) for tag in identity.tags if tag],
                config=identity.config,
                save_code=False,
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    init_timeout=timeout,
                    finish_timeout=timeout,
                    finish_timeout_raises=True,
                    git_root=str(ROOT),  # not that of the folder where the user stands
                ),
            )
        except Exception as error:
            if not parts:  # a refused run leaves nothing
                shutil.rmtree(identity.folder / "wandb", ignore_errors=True)
            told = " ".join(str(error).split())
            raise ValueError(
                f"W&B could not start ({told}); log in with `wandb login`, or take logger=offline"
            ) from error
        self.last = max(known, self.run.step - 1)
        self._attempt(self._define)
        self._attempt(lambda: self._catch_up(identity.step))

    def write(self, record: Record) -> None:
        """Log the record under its own step."""
        step = int(record["step"])
        own: dict[str, Any] = {f"{self.benchmark}/step": step}
        if record["seconds"] > 0:
            own[f"{self.benchmark}/steps_per_second"] = step / record["seconds"]
        self._log(step, lambda: {**record, **own})

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Log histograms of the spectra, the drawing and the numbers, with the step's record."""

        def look() -> dict[str, Any]:
            logged: dict[str, Any] = {f"flow/{k}": value for k, value in flow.numbers().items()}
            for name, values in (("spectrum", flow.spectrum), ("jacobian", flow.jacobian)):
                if values:
                    powers = [math.log10(max(value, LEAST)) for value in values]
                    logged[f"flow/log10_{name}"] = self.wandb.Histogram(powers)
            return logged | {"flow/gradients": self._image(figure)}

        self._log(max(1, step), look)

    def sample(self, step: int, text: str) -> None:
        """Log the text as it stands."""
        page = f"<pre>{html.escape(text)}</pre>"
        self._log(max(1, step), lambda: {"sample": self.wandb.Html(page)})

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Add the summary and the figures, and end the run."""
        # this ends the last row, which would else come after the summary and write over it
        self._attempt(lambda: self.run.log({k: self._image(p) for k, p in figures.items()}))
        # the last and the best of what is logged at every step is in the summary already
        added = {k: v for k, v in summary.items() if not k.startswith(VALIDATION)}
        self._attempt(lambda: self.run.summary.update(added))
        if self.resumed:
            self._attempt(lambda: self.run.summary.update(self._best()))
        code = 0 if summary["status"] == "finished" else 1
        self._attempt(lambda: self.run.finish(exit_code=code))
        if self.lost:  # the next run of this process starts W&B afresh
            with contextlib.suppress(Exception):
                self.wandb.teardown(code)

    def _define(self) -> None:
        """Say what is drawn against what, and which value of a curve its summary keeps."""
        self.run.define_metric("*", step_metric="step")
        self.run.define_metric(f"{self.benchmark}/step", hidden=True)
        for key, which in self.kept.items():
            self.run.define_metric(key, step_metric="step", summary=f"{which},last")

    def _catch_up(self, step: int) -> None:
        """Log what the file has up to ``step`` and W&B has not."""
        if step > self.last:
            for record in self._rows():
                if record["step"] <= step:
                    self.write(record)

    def _best(self) -> dict[str, Any]:
        """The summary of each curve over the whole run: W&B knows the last part of it alone."""
        rows = self._rows()
        found = {}
        for key, which in self.kept.items():
            values = [row[key] for row in rows if key in row]
            if values:
                best = max(values) if which == "max" else min(values)
                found[key] = {which: best, "last": values[-1]}
        return found

    def _rows(self) -> list[Record]:
        """The records in the file, less a last one that was cut short."""
        if not self.records.exists():
            return []
        lines = self.records.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def _image(self, path: Path) -> Any:
        return self.wandb.Image(str(path))

    def _log(self, step: int, make: Callable[[], dict[str, Any]]) -> None:
        if step > self.last:
            self._attempt(lambda: self.run.log(make(), step=step))

    def _attempt(self, action: Callable[[], Any]) -> None:
        """Do something that must not end a training; after a failure, nothing any more."""
        if self.lost:
            return
        try:
            action()
        except Exception as error:
            self.lost = True
            told = " ".join(str(error).split()) or "no more is known"
            print(
                f"W&B takes no more ({type(error).__name__}: {told}); {self.records} does",
                file=sys.stderr,
            )


def kept(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """What the summary keeps of each curve beside its last value: ``"min"`` or ``"max"``."""
    best = {"loss": "min"} | {
        name: "max" if metric.better == "higher" else "min" for name, metric in metrics.items()
    }
    validated = {f"{VALIDATION}{name}": which for name, which in best.items()}
    return {**best, **validated, "orthogonality_error": "max", "gradient_norm": "max"}


def run_id(folder: Path) -> str:
    """The agent's id, or that of the folder, which is made up and written at the first call."""
    path = folder / "wandb" / "id"
    given = os.environ.get("WANDB_RUN_ID")
    if given:
        return given
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def last_row(parts: Sequence[Path]) -> int:
    """The last step that W&B has in the folders of a run, 0 without any.

    An offline run does not know that it is resumed: it would log once more the steps between the
    checkpoint and the end, and ``wandb sync`` would number them on.
    """
    last = 0
    for part in parts:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(part)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        steps = [r["history"]["item"].get("step", 0) for r in rows if r["type"] == "history"]
        last = max([last, *map(int, steps)])
    return last


def shorten(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: its middle is left out, its end is kept."""
    if len(text) <= most:
        return text
    ending = text[-min(ENDING, most // 2) :]
    return f"{text[: most - len(ending) - 1]}…{ending}"
