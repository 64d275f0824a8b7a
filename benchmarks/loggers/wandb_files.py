"""What W&B keeps in the folder of a run: its id, its parts, and which of them it has uploaded."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 60  # seconds for reading one part back


def run_id(folder: Path) -> str:
    """The agent's id, or that of the folder, which is made up and written at the first call.

    Raises:
        OSError: if the folder cannot be written; W&B would go to another one without a word.
    """
    path = folder / "wandb" / "id"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} cannot be written")
    given = os.environ.get("WANDB_RUN_ID")
    if given:
        return given
    found = path.read_bytes() if path.exists() else b""
    if not re.fullmatch(rb"[0-9a-f]{16}", found):  # a full disk leaves it empty
        found = secrets.token_hex(8).encode()
        path.write_bytes(found)
    return found.decode()


def find_parts(folder: Path) -> list[Path]:
    """The folders of a run's parts, one for each time it was started, oldest first."""
    found = (folder / "wandb").glob("*run-*")
    return sorted(found, key=lambda part: part.name.removeprefix("offline-"))


def is_offline(part: Path) -> bool:
    """Whether a part was written for ``wandb sync``."""
    return part.name.startswith("offline-")


def mark_uploaded(parts: Sequence[Path]) -> None:
    """Mark parts as ``wandb sync`` does after it, so that it does not upload them a second time."""
    for part in parts:
        for log in part.glob("*.wandb"):
            log.with_name(f"{log.name}.synced").touch()


def how_to_upload(folder: Path) -> str:
    """How what is not at W&B yet comes there; a run that was resumed is in parts."""
    parts = [part for part in find_parts(folder) if not any(part.glob("*.synced"))]
    sync = "wandb sync" if all(map(is_offline, parts)) else "wandb sync --no-skip-online"
    if not parts:
        return "it is online"
    if len(parts) == 1:
        return f"`{sync} {parts[0]}` uploads it"
    # one command for all parts would stop at one that was cut short when the run was killed
    return f"`for part in {' '.join(map(str, parts))}; do {sync} $part; done` uploads it"


def last_row(parts: Sequence[Path]) -> int:
    """The last step that W&B has in the folders of a run, 0 without any.

    An offline run does not know that it is resumed: it would log once more the steps between the
    checkpoint and the end, and ``wandb sync`` would number them on.

    Raises:
        OSError: if a part cannot be read back.
        subprocess.SubprocessError: the same.
        ValueError: if what is said of it is not understood.
    """
    last = 0
    for part in parts:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(part)]
        # a part that was cut short is read up to there, and is no error
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=PATIENCE,
        )
        for line in done.stdout.splitlines():
            last = max(last, _step(line))
    return last


def _step(line: str) -> int:
    """The step of a line that holds a row, else 0."""
    try:
        content = json.loads(line)
        return int(content["history"]["item"]["step"]) if content["type"] == "history" else 0
    except KeyError:  # the figures have a row without a step
        return 0
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{line[:80]!r} is no line of W&B's") from error


MAX_NAME_CHARACTERS, MAX_TAG_CHARACTERS = 128, 64  # that the server takes
ENDING_CHARACTERS = 40  # of a long name, kept at its end, where the fingerprint is


def shorten_name(text: str) -> str:
    """A name that the server takes."""
    return shorten(text, MAX_NAME_CHARACTERS)


def shorten_tag(text: str) -> str:
    """A tag that the server takes."""
    return shorten(text, MAX_TAG_CHARACTERS)


def shorten(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: its middle is left out, its end is kept."""
    if len(text) <= most:
        return text
    ending = text[-min(ENDING_CHARACTERS, most // 2) :]
    return f"{text[: most - len(ending) - 1]}…{ending}"
