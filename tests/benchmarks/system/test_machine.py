"""What is said of the machine that a number comes from."""

import os

import pytest
import torch

from benchmarks.system import environment

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def processor(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 1 GHz\n")


def test_a_processor_is_named_with_its_cores_and_its_vectors(processor):
    told = environment.describe_machine(CPU)
    vectors = torch.backends.cpu.get_cpu_capability()
    assert told == f"Some CPU @ 1 GHz, {os.cpu_count()} cores, {vectors}"


def test_a_processor_without_a_name_is_told_by_its_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "nowhere")
    assert environment.device_name(CPU)


def test_a_gpu_is_named_in_its_place(processor, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    assert environment.describe_machine(CUDA) == f"Some GPU, {os.cpu_count()} cores"
