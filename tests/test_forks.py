"""A fork is a process as any other: its folder, environment, output and exit code are its own."""

import os
import signal

import pytest

from . import forks


def run(code, tmp_path, **options):
    out, err = tmp_path / "out", tmp_path / "err"
    process = forks.start(exec, code, {"__name__": "__main__"}, out=out, err=err, **options)
    process.join(60)
    return process.exitcode, out.read_text(), err.read_text()


def test_a_fork_has_the_folder_and_the_environment_that_it_is_given(tmp_path, monkeypatch):
    code = "import os, sys; print(os.getcwd(), sorted(os.environ)); print('e', file=sys.stderr)"
    given = {"ONE": "1", "PATH": os.environ["PATH"]}
    told = run(code, tmp_path, folder=tmp_path, environment=given)
    assert told == (0, f"{tmp_path} ['ONE', 'PATH']\n", "e\n")
    monkeypatch.setenv("TWO", "2")
    monkeypatch.chdir(tmp_path)
    code = "import os; print(os.getcwd(), os.environ['TWO'], os.environ.get('PYTHONWARNINGS'))"
    assert run(code, tmp_path) == (0, f"{tmp_path} 2 {os.environ.get('PYTHONWARNINGS')}\n", "")


@pytest.mark.parametrize(
    ("code", "exitcode", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('one line')", 1, "one line\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_the_exit_code_is_that_of_the_command(tmp_path, code, exitcode, said):
    code, out, err = run(code, tmp_path)
    assert (code, out) == (exitcode, "")
    assert err.endswith(said)
    assert bool(err) == bool(said)


def test_what_is_to_be_done_at_exit_is_done_and_threads_are_as_many_as_asked_for(tmp_path):
    code = "import atexit, torch; atexit.register(print, 'bye'); print(torch.get_num_threads())"
    for count in ("1", "2"):
        given = {**os.environ, "OMP_NUM_THREADS": count}
        assert run(code, tmp_path, environment=given) == (0, f"{count}\nbye\n", "")
        ends = f"{code}; 1 / 0"
        assert run(ends, tmp_path, environment=given)[:2] == (1, f"{count}\nbye\n")


def test_a_fork_has_imported_already_and_can_be_a_benchmark(tmp_path):
    code = "import sys; print('benchmarks.runs.train' in sys.modules)"
    assert run(code, tmp_path)[1] == f"{forks.FORKS}\n"
    error = tmp_path / "err"
    process = forks.start(forks.benchmark, "copy", ["task.delay=0"], folder=tmp_path, err=error)
    process.join(60)
    assert process.exitcode == 2
    assert error.read_text().startswith("error: task.delay: ")
