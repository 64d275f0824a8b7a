"""Triton's programs compiled for an H100, on whatever machine the tests run: what they take there.

The interpreter knows no registers and no shared memory; the compiler needs no GPU.
"""

import re
import subprocess
from pathlib import Path

import pytest
import torch

from orthornn.kernels.triton import plan

triton = pytest.importorskip("triton")

REGISTERS, SHARED = 65536, 227 * 1024  # of a multiprocessor, at most for one program
NAMES = {torch.float32: "fp32", torch.float64: "fp64"}
VARIANTS = [
    (torch.float32, "ieee"),
    (torch.float64, "ieee"),
    (torch.float32, "tf32"),
    (torch.float32, "bf16"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def compiled(H, dtype, precision, nonlinearity, back, crowded=True):
    """The program of a plan as ptxas made it for compute capability 9.0, and its plan."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from orthornn.kernels import programs

    chosen = plan(H, dtype, precision, crowded)
    program = getattr(programs, chosen.program)
    constants = {"KIND": nonlinearity, "BACK": back, **chosen.constants}
    floats = f"*{NAMES[dtype]}"
    signature = dict.fromkeys(("given", "states", "out", "before"), floats)
    signature["m"] = "*bf16" if precision == "bf16" else floats
    signature |= {"threshold": floats, "starts": "*i64", "lengths": "*i64"}
    signature |= dict.fromkeys(("B", "H", "M"), "i32") | dict.fromkeys(constants, "constexpr")
    aligned = {"M"} | ({"H"} if H % 16 == 0 else set())  # as at a launch
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, p in enumerate(program.params)
        if signature[p.name][0] == "*" or (p.name in aligned and not p.do_not_specialize)
    }
    made = triton.compile(
        ASTSource(program, signature, constants, attributes),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": chosen.num_warps, "num_stages": 1},
    )
    return made, chosen


def usage(made, folder):
    """Registers of a thread, and bytes that it spills."""
    path = folder / "program.cubin"
    path.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    call = [tool, "-res-usage", path]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    registers, stack, local = re.search(r"REG:(\d+) STACK:(\d+).* LOCAL:(\d+)", text).groups()
    return int(registers), int(stack) + int(local)


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("dtype", "precision"), VARIANTS, ids=str)
@pytest.mark.parametrize("H", [1, 128, 190, 512])
def test_a_program_fits_a_multiprocessor_without_spilling(H, dtype, precision, back, tmp_path):
    made, chosen = compiled(H, dtype, precision, "modrelu", back)
    registers, spilled = usage(made, tmp_path)
    assert spilled == 0
    assert registers * 32 * chosen.num_warps <= REGISTERS
    assert made.metadata.shared <= SHARED
