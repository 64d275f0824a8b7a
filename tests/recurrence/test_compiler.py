"""Compiling at first use: once a machine, beside and renamed, and not at all where it cannot be."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from orthornn.recurrence.cpu import compiler
from orthornn.recurrence.elman import compiled
from tests import forked

RUN = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from orthornn import OrthoRNN
from orthornn.recurrence.elman import compiled
y, _ = OrthoRNN(3, 8, nonlinearity="tanh")(torch.randn(20, 4, 3))
y.sum().backward()
print("states", tuple(y.shape), "unavailable", compiled.unavailable())
"""
needs_compiler = pytest.mark.skipif(
    compiled.unavailable() is not None, reason=str(compiled.unavailable())
)


def run(cache, code=RUN, **environment):
    given = {**os.environ, "ORTHORNN_CACHE": str(cache), **environment}
    done = forked.python(code, environment=given)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("states (20, 4, 8) unavailable ")
    return done.stdout.rpartition("unavailable ")[2].strip()


@needs_compiler
def test_what_was_compiled_is_used_again(tmp_path):
    assert run(tmp_path / "new") == "None"
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()}
    assert 1 <= len(made) <= 2
    assert all(path.suffix == ".so" for path in made)
    assert run(tmp_path / "new") == "None"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()} == made


@needs_compiler
def test_processes_that_compile_at_the_same_time_do_not_disturb_each_other(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(run, [tmp_path] * 3)) == {"None"}
    assert all(path.suffix == ".so" for path in tmp_path.iterdir())


@needs_compiler
def test_a_folder_that_cannot_be_written_or_a_spoilt_file_is_gone_around(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert run(blocked / "below") == "None"
    assert run(tmp_path / "cache") == "None"
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"no library")
    assert run(tmp_path / "cache") == "None"


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
def test_what_somebody_else_made_is_not_loaded(tmp_path):
    assert run(tmp_path) == "None"
    for path in tmp_path.iterdir():
        os.chown(path, 12345, 12345)
    code = RUN + f"assert '{tmp_path}' not in open('/proc/self/maps').read()"
    assert run(tmp_path, code) == "None"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("none", "ORTHORNN_COMPILER=none"),
        ("no-such-compiler -O2", "no C compiler is at hand: no-such-compiler"),
        ("false", "false failed with 1"),
        ('gcc "', 'CC or ORTHORNN_COMPILER is no command, No closing quotation: gcc "'),
    ],
)
def test_without_a_compiler_the_recurrence_runs_in_torch(tmp_path, command, reason):
    assert reason in run(tmp_path, ORTHORNN_COMPILER=command)
    ask = "try: OrthoRNN(3, 8, backend='c')\nexcept ValueError as e: sys.exit(str(e))"
    code = RUN + ask
    given = {**os.environ, "ORTHORNN_CACHE": str(tmp_path), "ORTHORNN_COMPILER": command}
    done = forked.python(code, environment=given)
    assert done.returncode == 1
    assert done.stderr.startswith("backend 'c' cannot run this: ")
    assert reason in done.stderr


@needs_compiler
def test_a_launcher_before_the_compiler_is_part_of_the_command(tmp_path):
    assert run(tmp_path, CC=f"env {compiler.compiler()[0]}") == "None"


@needs_compiler
def test_another_library_under_the_name_is_made_anew_or_left_alone(tmp_path):
    assert run(tmp_path) == "None"
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    assert run(tmp_path) == "None"
    assert all(path.stat().st_size > 0 for path in tmp_path.iterdir())


def test_cc_is_the_second_choice(tmp_path):
    assert run(tmp_path, CC="no-such-compiler") == "no C compiler is at hand: no-such-compiler"
    if compiled.unavailable() is None:
        found = compiler.compiler()[0]
        assert run(tmp_path, CC="no-such-compiler", ORTHORNN_COMPILER=found) == "None"


@needs_compiler
def test_a_compiler_that_fails_on_the_source_alone_is_reported(tmp_path):
    script = tmp_path / "cc"
    found = compiler.compiler()[0]
    good = f'case "$*" in *-dM*) exec {found} "$@";; esac'
    script.write_text(f'#!/bin/sh\n{good}\necho "x: error: no" >&2\nexit 3\n')
    script.chmod(0o755)
    reason = run(tmp_path / "cache", ORTHORNN_COMPILER=str(script))
    assert reason == f"{script} failed with 3: x: error: no"
    assert list((tmp_path / "cache").iterdir()) == []
