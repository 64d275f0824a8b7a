"""Triton's interpreter, in a process of its own: importing Triton settles who runs its programs."""

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch


@pytest.fixture(scope="session")
def interpreted():
    """Calls a function of the Triton engine, by its name, in the interpreter."""
    pytest.importorskip("triton")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # the new process starts with it, this one never has
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        pool.submit(_call, _packed(("unavailable", (), None))).result()

    def call(name, *arguments, chunk_bytes=None):
        request = _packed((name, arguments, chunk_bytes))
        return _unpacked(pool.submit(_call, request).result())

    yield call
    pool.shutdown()


def _packed(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _unpacked(content):
    return torch.load(io.BytesIO(content), weights_only=False)


def _call(request):
    from orthornn.recurrence.elman.triton import engine

    torch.set_num_threads(1)
    name, arguments, chunk_bytes = _unpacked(request)
    usual = engine.CHUNK_BYTES
    engine.CHUNK_BYTES = chunk_bytes or usual
    try:
        return _packed(getattr(engine, name)(*arguments))
    finally:
        engine.CHUNK_BYTES = usual
