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
import contextlib
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

OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread")
NATIVE = "-march=native"
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
    reasons = []
    for folder in (_cache, _temporary):
        try:
            return _loaded(_path(folder().resolve(), source, key), [*command, str(source)])
        except (OSError, CannotCompile) as error:  # a folder that is full, code that does not load
            reasons.append(str(error).strip())
    raise CannotCompile(reasons[-1])


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command, with its options.

    Raises:
        CannotCompile: where there is none.
    """
    wanted = os.environ.get("ORTHORNN_COMPILER") or os.environ.get("CC", "")
    if wanted == "none":
        raise CannotCompile("ORTHORNN_COMPILER=none")
    try:
        words = shlex.split(wanted)
    except ValueError as error:
        raise CannotCompile(f"CC or ORTHORNN_COMPILER is no command, {error}: {wanted}") from error
    names = [words[0]] if words else ["cc", "gcc", "clang"]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None or os.name == "nt":
        raise CannotCompile(f"no C compiler is at hand: {', '.join(names)}")
    native = () if any(word.startswith(("-march", "-mcpu")) for word in words) else (NATIVE,)
    return (found, *words[1:], *OPTIONS, *native)  # ccache wants the compiler's name first


@functools.cache
def macros() -> str:
    """What the compiler defines by itself: its version, the processor and all that it can do."""
    return _run([*compiler(), "-dM", "-E", "-x", "c", os.devnull])


def _path(folder: Path, source: Path, key: str) -> Path:
    return folder / f"{source.stem}-{key}.so"


def _loaded(path: Path, command: list[str]) -> ctypes.CDLL:
    """The library, made if it is not there or spoilt."""
    if path.exists():
        if path.stat().st_uid not in (os.getuid(), 0):
            raise OSError(f"{path} belongs to another user")
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(path))
    _make(path, command)
    return ctypes.CDLL(str(path))


def _make(path: Path, command: list[str]) -> None:
    """Compile beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-", suffix=".tmp")
    os.close(handle)
    try:
        _run([*command, "-o", beside, "-lm"])
        Path(beside).chmod(0o755)  # whoever may enter the folder may load it
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompile(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line), "".join(lines[:1]))
        raise CannotCompile(f"{command[0]} failed with {done.returncode}: {said}")
    return done.stdout


def _cache() -> Path:
    if named := os.environ.get("ORTHORNN_CACHE"):
        return Path(named)
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (root if root.is_absolute() else Path.home() / ".cache") / "orthornn"
    except RuntimeError as error:  # nobody's home
        raise OSError(str(error)) from error


@functools.cache
def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="orthornn-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
