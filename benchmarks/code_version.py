"""Which commit of this project is running."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 5  # seconds for git, which takes milliseconds unless its disk is gone


def code_version(root: Path = ROOT) -> str:
    """The commit of a checkout, such as ``"8a51d0c"`` or ``"8a51d0c, with changes"``.

    Changes are those of files that git follows. ``"unknown"`` outside a checkout, before its first
    commit, and without git.
    """
    if not (root / ".git").exists():  # the commit of a folder around it would say nothing
        return "unknown"
    command = ["git", "--no-optional-locks", "describe", "--always", "--exclude=*"]
    command += ["--abbrev=7", "--dirty=, with changes"]
    # git sets variables for its hooks that would point to another checkout
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
