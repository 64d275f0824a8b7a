"""Triton's kernels compiled for an H100, on whatever machine the tests run: what they take there.

The interpreter knows no registers and no shared memory; the compiler needs no GPU.
"""

import re
import subprocess
from pathlib import Path

import pytest
import torch

from orthornn.recurrence.elman.triton.launch import launch_config

triton = pytest.importorskip("triton")

REGISTERS = 65536  # of a multiprocessor
SHARED_BYTES = 227 << 10  # for one program
MULTIPROCESSORS = 132
NAMES = {torch.float32: "fp32", torch.float64: "fp64"}
both_directions = pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(launch, H, dtype, nonlinearity, back):
    """The kernel of a launch, as ptxas makes it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from orthornn.recurrence.elman.triton import kernels

    kernel = getattr(kernels, launch.kernel)
    constants = {"KIND": nonlinearity, "BACK": back, **launch.constants}
    floats = f"*{NAMES[dtype]}"
    signature = dict.fromkeys(("addend", "states", "out", "before", "m", "modrelu_bias"), floats)
    signature |= {"starts": "*i64", "lengths": "*i64", "B": "i32", "H": "i32", "M": "i32"}
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {"M"} | ({"H"} if H % 16 == 0 else set())  # as a launch finds them
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, p in enumerate(kernel.params)
        if signature[p.name][0] == "*" or (p.name in aligned and not p.do_not_specialize)
    }
    return triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": launch.num_warps, "num_stages": 1},
    )


def registers(made, folder):
    """Those of a thread, and the bytes that it spills."""
    path = folder / "program.cubin"
    path.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    call = [tool, "-res-usage", path]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    used, stack, local = re.search(r"REG:(\d+) STACK:(\d+).* LOCAL:(\d+)", text).groups()
    return int(used), int(stack) + int(local)


@pytest.mark.each_value_once
@both_directions
@pytest.mark.parametrize("dtype", NAMES, ids=str)
@pytest.mark.parametrize("H", [1, 128, 190, 512])
def test_a_program_fits_a_multiprocessor_without_spilling(H, dtype, back, tmp_path):
    launch = launch_config(200, H, dtype, MULTIPROCESSORS)
    made = compiled(launch, H, dtype, "modrelu", back)
    used, spilled = registers(made, tmp_path)
    assert spilled == 0
    assert used * 32 * launch.num_warps <= REGISTERS
    assert made.metadata.shared <= SHARED_BYTES


@pytest.mark.each_value_once
@both_directions
@pytest.mark.parametrize("nonlinearity", ["identity", "leaky_relu", "relu", "tanh"])
def test_no_nonlinearity_spills_where_registers_are_fewest(nonlinearity, back, tmp_path):
    launch = launch_config(200, 190, torch.float32, MULTIPROCESSORS)
    made = compiled(launch, 190, torch.float32, nonlinearity, back)
    assert registers(made, tmp_path)[1] == 0


@pytest.mark.parametrize("H", [64, 256])
def test_rows_are_counted_in_64_bits(H):
    launch = launch_config(200, H, torch.float32, MULTIPROCESSORS)
    text = compiled(launch, H, torch.float32, "modrelu", True).asm["ttir"]
    rows = "addend|states|out|before"
    spread = dict(re.findall(rf"(%\w+) = tt.splat (%(?:{rows})) ", text))
    bases = "|".join(map(re.escape, [*spread, *(f"%{name}" for name in rows.split("|"))]))
    offsets = re.findall(
        rf"tt.addptr (?:{bases}), .*, (?:tensor<[\dx]*x)?(i\d+)>?(?: loc.*)?$", text, re.M
    )
    assert len(offsets) >= 4
    assert set(offsets) == {"i64"}


@pytest.mark.parametrize(
    ("H", "back", "barriers"), [(64, False, 1), (256, True, 1), (256, False, 2)]
)
def test_barriers_stand_between_what_threads_write_and_others_read(H, back, barriers):
    launch = launch_config(200, H, torch.float32, MULTIPROCESSORS)
    text = compiled(launch, H, torch.float32, "modrelu", back).asm["ttir"]
    assert len(re.findall(r"\bbarrier\b", text)) == barriers
