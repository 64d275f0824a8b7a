"""Ctrl-C and termination wait for the end of a step, so that what is saved is never half a step."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn


@contextlib.contextmanager
def termination_exits() -> Iterator[None]:
    """Within it, SIGTERM ends this process as an exit does, so that a sweep's workers end too."""
    main = threading.current_thread() is threading.main_thread()
    mine = main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


_REPLACED: dict[int, tuple[Any, ...]] = {
    signal.SIGINT: (signal.default_int_handler,),
    signal.SIGTERM: (signal.SIG_DFL, _exit),
}
if hasattr(signal, "SIGHUP"):  # the terminal is gone
    _REPLACED[signal.SIGHUP] = (signal.SIG_DFL,)


class Stop:
    """Whether somebody asked to stop since training began."""

    def __init__(self) -> None:
        self.asked: int | None = None

    def exit(self) -> NoReturn:
        """Leave as asked, or as after Ctrl-C where another process of the run was asked.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after another signal, with the code that shells give it: 143 after SIGTERM.
        """
        _end_process(signal.SIGINT if self.asked is None else self.asked)


@contextlib.contextmanager
def defer_signals() -> Iterator[Stop]:
    """Within it, Ctrl-C, SIGTERM or SIGHUP is only noted; a second Ctrl-C acts at once.

    Other signals come twice by themselves, from shell and system, and so does a Ctrl-C together
    with the SIGTERM of a process that watches over this one and got the Ctrl-C too, in any order.

    A handler that somebody else has set, as launchers of clusters do, stays.
    """
    stop = Stop()
    interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            _end_process(signal.SIGINT)
        if stop.asked is not None:
            return
        stop.asked = number
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        how = "again stops" if number == signal.SIGINT else "twice stops"
        text = f"{name}: stopping after this step; Ctrl-C {how} at once, unsaved"
        with contextlib.suppress(OSError):
            print(f"\n{text}", file=sys.stderr, flush=True)

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        for number, handlers in _REPLACED.items():
            if signal.getsignal(number) in handlers:
                replaced[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _end_process(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
