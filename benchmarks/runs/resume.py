"""Where a run starts from: its folder, its last checkpoint and its loggers brought to one step."""

from __future__ import annotations

from typing import Any

from benchmarks.config.errors import as_config_error, build
from benchmarks.loggers import FailSafeLogger, ProgressBar

from . import checkpoints, folder, metadata
from .build import BuiltRun
from .recorder import Recorder


def open_recorder(run: BuiltRun) -> Recorder | None:
    """Bring folder, state and loggers to where a run is to start from.

    Returns the recorder on the first process, which alone writes; None on the others.

    Raises:
        ConfigError: if what the folder holds cannot be read, or a logger refuses.
    """
    recorder = _make_recorder(run) if run.processes.is_main else None
    saved = run.processes.broadcast_result(lambda: _load_checkpoint(run, recorder))
    if saved is not None:
        as_config_error("checkpoint", lambda: run.state.load_state_dict(saved["state"]))
    run.processes.broadcast_result(lambda: _open(run, recorder))
    return recorder


def _make_recorder(run: BuiltRun) -> Recorder:
    description = metadata.initial_metadata(
        run.task, run.call.model, run.state.model, run.config.plain, run.threads, run.processes.size
    )
    model, call = run.state.model, run.call
    return Recorder(call.folder, description, run.task, run.settings, model, call.sweep)


def _load_checkpoint(run: BuiltRun, recorder: Recorder | None) -> dict[str, Any] | None:
    if run.before is None or recorder is None:
        return None
    folder.check_data(run.call.folder, run.before, recorder.metadata)
    saved = checkpoints.load(run.call.folder, run.config.plain)
    if saved is not None:
        checkpoints.restore_id(run.call.folder, saved)
    return saved


def _open(run: BuiltRun, recorder: Recorder | None) -> None:
    """Open the recorder, as the first process; a logger that refuses leaves all as it was."""
    if recorder is None:
        return
    attempt = None
    if run.before is None:
        attempt = folder.archive(run.call.folder)
    else:
        recorder.resume(run.state.step)
    try:
        _open_loggers(run, recorder)
    except BaseException:
        if attempt is not None:
            folder.restore(run.call.folder, attempt)
        raise


def _open_loggers(run: BuiltRun, recorder: Recorder) -> None:
    call, step = run.call, run.state.step
    identity = metadata.run_identity(recorder.metadata, run.task, call.folder, call.overrides, step)
    logger = FailSafeLogger("logger", lambda: build("logger", run.config.logger, identity))
    progress = ProgressBar(
        run.settings.total,
        run.task.baseline,
        f"{call.model} seed {run.config.seed}" if call.sweep else call.model,
        run.task.metrics,
        done=step,
        alone=not call.side_by_side,
    )
    recorder.open(logger, FailSafeLogger("progress", lambda: progress))
