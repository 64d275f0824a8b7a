"""What the folder of a run keeps for W&B: the run's id, how it is known there, and an upload."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from benchmarks.records.files import WANDB_ID
from benchmarks.system import atomic_files

from .logger import RunIdentity

MAX_NAME_CHARACTERS, MAX_TAG_CHARACTERS = 128, 64  # that the server takes
ENDING_CHARACTERS = 40  # of a long name, kept at its end, where the fingerprint is
OPTIONS = "wandb/options.json"


def run_id(folder: Path) -> str:
    """The agent's id, else that of the folder, else a new one; the folder keeps it.

    Raises:
        OSError: if the folder cannot be written; W&B would go to another one without a word.
    """
    path = folder / WANDB_ID
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} cannot be written")
    kept = path.read_bytes() if path.exists() else b""
    wanted = os.environ.get("WANDB_RUN_ID", "").encode()
    if not wanted:  # a full disk leaves the file empty
        wanted = kept if re.fullmatch(rb"[\w.-]+", kept) else secrets.token_hex(8).encode()
    if wanted != kept:  # an upload later goes to the same run
        path.write_bytes(wanted)
    return wanted.decode()


def run_options(identity: RunIdentity, project: str) -> dict[str, Any]:
    """What ``wandb.init`` is told of a run, beside its mode."""
    return {
        "project": project,
        "name": shorten(identity.name, MAX_NAME_CHARACTERS),
        "group": shorten(identity.group, MAX_NAME_CHARACTERS),
        "job_type": identity.job_type,
        "tags": [shorten(tag, MAX_TAG_CHARACTERS) for tag in identity.tags if tag],
        "config": identity.config,
    }


def write_options(folder: Path, options: dict[str, Any], kinds: dict[str, str]) -> None:
    """Keep what an upload needs of a run beside its records.

    Raises:
        OSError: if the folder cannot be written.
    """
    path = folder / OPTIONS
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(path, json.dumps([options, kinds]))


def read_options(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What :func:`write_options` has kept.

    Raises:
        ValueError: if there is nothing, or it is damaged.
    """
    path = folder / OPTIONS
    if not path.exists() and offline_files(folder):
        sync = f"for part in {folder}/wandb/offline-run-*; do wandb sync $part; done"
        raise ValueError(f"{OPTIONS} is missing, as of an earlier version: `{sync}` uploads it")
    if not path.exists():
        raise ValueError(f"{OPTIONS} is missing: the run was trained without W&B")
    options, kinds = json.loads(path.read_text(encoding="utf-8"))
    return options, kinds


def offline_files(folder: Path) -> list[Path]:
    """The folders that W&B has written offline for a run, oldest first."""
    return sorted((folder / "wandb").glob("offline-run-*"))


def how_to_upload(folder: Path) -> str:
    """How what is not at W&B comes there."""
    offline = offline_files(folder)
    if offline:
        return f"`wandb sync {offline[-1]}` uploads it"
    return f"online; `python -m benchmarks.upload {folder}` adds what it lacks there"


def shorten(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: its middle is left out, its end is kept."""
    if len(text) <= most:
        return text
    ending = text[-min(ENDING_CHARACTERS, most // 2) :]
    return f"{text[: most - len(ending) - 1]}…{ending}"
