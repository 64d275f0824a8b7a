"""Triton's programs compiled for an H100, on whatever machine the tests run: what they take there.

The interpreter knows no registers and no shared memory; the compiler needs no GPU.
"""

import re
import subprocess
from pathlib import Path

import pytest
import torch

from orthornn.recurrence.triton.plan import Chip, plan

triton = pytest.importorskip("triton")

REGISTERS = 65536  # of a multiprocessor
CHIPS = {  # by compute capability, of an H100 and an RTX 4090
    90: Chip(132, 227 << 10),
    89: Chip(128, 99 << 10),
}
NAMES = {torch.float32: "fp32", torch.float64: "fp64"}
VARIANTS = [
    (torch.float32, "ieee"),
    (torch.float64, "ieee"),
    (torch.float32, "tf32"),
    (torch.float32, "bf16"),
]
both_directions = pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(chosen, H, dtype, nonlinearity, back, capability=90):
    """The program of a plan, as ptxas makes it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from orthornn.recurrence.triton import programs

    program = getattr(programs, chosen.program)
    constants = {"KIND": nonlinearity, "BACK": back, **chosen.constants}
    floats = f"*{NAMES[dtype]}"
    signature = dict.fromkeys(("given", "states", "out", "before", "threshold"), floats)
    signature["m"] = "*bf16" if chosen.constants.get("PRECISION") == "bf16" else floats
    signature |= {"starts": "*i64", "lengths": "*i64", "B": "i32", "H": "i32", "M": "i32"}
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {"M"} | ({"H"} if H % 16 == 0 else set())  # as a launch finds them
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, p in enumerate(program.params)
        if signature[p.name][0] == "*" or (p.name in aligned and not p.do_not_specialize)
    }
    return triton.compile(
        ASTSource(program, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": chosen.num_warps, "num_stages": 1},
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


@both_directions
@pytest.mark.parametrize(("dtype", "precision"), VARIANTS, ids=str)
@pytest.mark.parametrize("H", [1, 128, 190, 512])
def test_a_program_fits_a_multiprocessor_without_spilling(H, dtype, precision, back, tmp_path):
    chosen = plan(200, H, dtype, precision, CHIPS[90])
    made = compiled(chosen, H, dtype, "modrelu", back)
    used, spilled = registers(made, tmp_path)
    assert spilled == 0
    assert used * 32 * chosen.num_warps <= REGISTERS
    assert made.metadata.shared <= CHIPS[90].shared_memory


@both_directions
@pytest.mark.parametrize("nonlinearity", ["identity", "leaky_relu", "relu", "tanh"])
def test_no_nonlinearity_spills_where_registers_are_fewest(nonlinearity, back, tmp_path):
    chosen = plan(200, 190, torch.float32, "ieee", CHIPS[90])
    made = compiled(chosen, 190, torch.float32, nonlinearity, back)
    assert registers(made, tmp_path)[1] == 0


@pytest.mark.parametrize("H", [128, 256])
@pytest.mark.parametrize("capability", CHIPS)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_shared_memory_is_planned_for(H, precision, capability):
    chosen = plan(200, H, torch.float32, precision, CHIPS[capability])
    made = compiled(chosen, H, torch.float32, "tanh", True, capability)
    assert made.metadata.shared <= CHIPS[capability].shared_memory


@pytest.mark.parametrize(("H", "precision"), [(64, "ieee"), (64, "tf32"), (256, "ieee")])
def test_rows_are_counted_in_64_bits(H, precision):
    chosen = plan(200, H, torch.float32, precision, CHIPS[90])
    text = compiled(chosen, H, torch.float32, "modrelu", True).asm["ttir"]
    rows = "given|states|out|before"
    spread = dict(re.findall(rf"(%\w+) = tt.splat (%(?:{rows})) ", text))
    bases = "|".join(map(re.escape, [*spread, *(f"%{name}" for name in rows.split("|"))]))
    offsets = re.findall(
        rf"tt.addptr (?:{bases}), .*, (?:tensor<[\dx]*x)?(i\d+)>?(?: loc.*)?$", text, re.M
    )
    assert len(offsets) >= 4
    assert set(offsets) == {"i64"}


@pytest.mark.parametrize(
    ("H", "precision", "back", "least"),
    [
        (64, "ieee", False, 1),
        (64, "tf32", False, 1),
        (256, "ieee", True, 1),
        (256, "ieee", False, 2),
    ],
)
def test_barriers_stand_between_what_threads_write_and_others_read(H, precision, back, least):
    chosen = plan(200, H, torch.float32, precision, CHIPS[90])
    text = compiled(chosen, H, torch.float32, "modrelu", back).asm["ttir"]
    assert len(re.findall(r"\bbarrier\b", text)) == least
