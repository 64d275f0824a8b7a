"""C sources compiled for this very processor: once a machine, kept in the user's cache.

The compiler is ``ORTHORNN_COMPILER``, else ``CC``, else the first of ``cc``, ``gcc``, ``clang``;
``ORTHORNN_COMPILER=none`` forbids it. What it makes lies in ``ORTHORNN_CACHE``, else in
``orthornn`` under ``XDG_CACHE_HOME`` or ``~/.cache``, under a name made of the sources, the options
and all that the compiler says of itself and of the processor: a home shared by different machines
holds one file for each kind. Where that folder cannot be written, or holds what somebody else
made, a temporary one serves this process.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-march=native")
SECONDS = 120.0


class CannotCompile(RuntimeError):
    """Why there is no compiled code here, in one line."""


def compiled(source: Path, defines: Mapping[str, str]) -> ctypes.CDLL:
    """The library made of ``source``, which may include the headers beside it.

    Raises:
        CannotCompile: without a compiler, or where it fails.
    """
    command = [*compiler(), *(f"-D{name}={value}" for name, value in sorted(defines.items()))]
    texts = [path.read_bytes() for path in sorted(source.parent.glob("*.[ch]"))]
    known = "\n".join([*command, macros()]).encode()
    key = hashlib.sha256(b"\0".join([known, source.name.encode(), *texts])).hexdigest()[:32]
    for folder in (_cache, _temporary):
        try:
            path = _made(source, command, folder(), key)
            if path.stat().st_uid not in (os.getuid(), 0):
                raise OSError(f"{path} belongs to another user")
            return ctypes.CDLL(str(path))
        except OSError as error:  # a folder that cannot be written, or code that cannot be loaded
            reason = error
    raise CannotCompile(f"what {command[0]} made cannot be kept or loaded: {reason}")


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command, with its options.

    Raises:
        CannotCompile: where there is none.
    """
    wanted = os.environ.get("ORTHORNN_COMPILER") or os.environ.get("CC", "")
    if wanted == "none":
        raise CannotCompile("ORTHORNN_COMPILER=none")
    words = shlex.split(wanted)
    names = [words[0]] if words else ["cc", "gcc", "clang"]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None or os.name == "nt":
        raise CannotCompile(f"no C compiler is at hand: {', '.join(names)}")
    return (found, *OPTIONS, *words[1:])


@functools.cache
def macros() -> str:
    """What the compiler defines by itself: its version, the processor and all that it can do."""
    return _run([*compiler(), "-dM", "-E", "-x", "c", os.devnull])


def _made(source: Path, command: list[str], folder: Path, key: str) -> Path:
    """The path of the library, made if it is not there: beside, then renamed."""
    path = folder / f"{source.stem}-{key}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, beside = tempfile.mkstemp(dir=folder, prefix=f"{path.stem}-", suffix=".tmp")
        os.close(handle)
        try:
            _run([*command, str(source), "-o", beside, "-lm"])
            os.replace(beside, path)
        finally:
            Path(beside).unlink(missing_ok=True)
    return path


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompile(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), "")
        raise CannotCompile(f"{command[0]} failed with {done.returncode}: {said}")
    return done.stdout


def _cache() -> Path:
    if named := os.environ.get("ORTHORNN_CACHE"):
        return Path(named)
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "orthornn"
    except RuntimeError as error:  # nobody's home
        raise OSError(str(error)) from error


@functools.cache
def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="orthornn-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
