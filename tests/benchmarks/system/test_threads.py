"""How the processor is used."""

import os

import pytest
import torch

from benchmarks.system import threads


def test_thread_count_is_one_the_machine_has_and_torch_keeps_its_own():
    before = torch.get_num_threads()
    assert 1 <= threads.choose_threads(16, 16) <= threads.available_cores() <= os.cpu_count()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [({1: 1.0, 2: 0.5, 4: 0.2}, 4), ({1: 1.0, 2: 0.95, 4: 0.9}, 1), ({1: 1.0, 2: 20.0, 4: 9.0}, 1),
     ({1: 1.0, 2: 0.6, 4: 0.58}, 2)],
)  # fmt: skip
def test_more_threads_are_taken_only_for_a_clear_gain(monkeypatch, seconds, chosen):
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "_seconds_per_product", lambda n, *_: seconds[n])
    assert threads.choose_threads(128, 190) == chosen


def test_numbers_below_the_normal_range_are_zero_within_and_as_before_after():
    tiny = torch.tensor([1e-30]) * torch.tensor([1e-10])
    assert tiny.item() > 0
    with threads.flush_denormals():
        assert (torch.tensor([1e-30]) * torch.tensor([1e-10])).item() == 0
        assert (torch.tensor([1e-30]) * torch.tensor([1e-7])).item() > 0
    assert (torch.tensor([1e-30]) * torch.tensor([1e-10])).item() > 0
