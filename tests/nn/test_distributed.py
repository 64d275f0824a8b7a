"""Two processes: DistributedDataParallel keeps one orthogonal weight; FSDP2 is refused in time."""

import multiprocessing
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from orthornn import OrthoRNN, ReflectionRNN, RiemannianRMSprop, SwitchedOrthoRNN, param_groups
from orthornn.diagnostics import orthogonality_error
from tests import forks


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def join(rank, port, work, *arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        work(rank, *arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def in_two_processes(work, *arguments):
    # torch and the library are imported once, by the server that all processes are forked from; a
    # test process has one server, so that it imports what other tests ask for as well
    multiprocessing.set_forkserver_preload([*forks.PRELOADED, "torch.distributed.fsdp"])
    given = (free_port(), work, *arguments)
    mp.start_processes(join, given, nprocs=2, start_method="forkserver")


def build():
    rnn = OrthoRNN(4, 8, 2, bidirectional=True, dtype=torch.float64)
    return nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), rnn)


def build_transitions():
    """One of matrices and one of reflections, one after the other."""
    options = {"additive": True, "resets": True, "dtype": torch.float64}
    return Stacked(SwitchedOrthoRNN(3, 8, **options), ReflectionRNN(8, 4, 2, **options))


class Stacked(nn.Module):
    """Two networks in a row."""

    def __init__(self, *networks):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x):
        for network in self.networks:
            x, h_n = network(x)
        return x, h_n


def draw_reals():
    return torch.randn(6, 4, 3, dtype=torch.float64)


def draw_tokens():
    return torch.randint(3, (6, 4))


MODELS = {"OrthoRNN": (build, draw_reals), "transitions": (build_transitions, draw_tokens)}


def train(model, batches):
    optimizer = RiemannianRMSprop(param_groups(model, lr=1e-2, lr_ortho=1e-2))
    for x in batches:
        optimizer.zero_grad()
        model(x)[0].sin().mean().backward()
        optimizer.step()


def replicated(rank, path, name):
    torch.manual_seed(rank)  # the wrapper has to make the starts equal
    model = MODELS[name][0]()
    wrapped = DistributedDataParallel(model)
    if rank == 0:
        torch.save(model.state_dict(), path / "start.pt")
    batches = torch.load(path / "batches.pt")
    train(wrapped, [x[:, rank::2] for x in batches])
    torch.save(model.state_dict(), path / f"{rank}.pt")


@pytest.mark.parametrize("name", MODELS)
def test_two_replicas_end_where_one_process_does(name, tmp_path):
    make, draw = MODELS[name]
    batches = [draw() for _ in range(5)]
    torch.save(batches, tmp_path / "batches.pt")
    in_two_processes(replicated, tmp_path, name)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    alone = make()
    alone.load_state_dict(torch.load(tmp_path / "start.pt"))
    train(alone, batches)
    torch.testing.assert_close(dict(alone.state_dict()), dict(first))
    alone.load_state_dict(first)
    assert orthogonality_error(alone) < 1e-12


def sharded(rank):
    from torch.distributed._composable.replicate import replicate
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for part in (False, True):
        model = build()
        before = [p.detach().clone() for p in model[1].parameters()]
        with pytest.raises(TypeError, match=r"weight_ih_l0 to be a whole tensor.*ignored_params"):
            fully_shard(model[1] if part else model, mesh=mesh)
        assert all(map(torch.equal, before, model[1].parameters()))
        assert orthogonality_error(model[1]) < 1e-12

    for options in ({}, {"reflections": 2}):
        with pytest.raises(TypeError, match=r"initial_state to be a whole tensor.*ignored_params"):
            fully_shard(SwitchedOrthoRNN(3, 8, **options), mesh=mesh)
    with pytest.raises(TypeError, match=r"weight_hh cannot be taken out.*ignored_modules"):
        FullyShardedDataParallel(SwitchedOrthoRNN(3, 8), device_id=torch.device("cpu"))

    torch.manual_seed(0)  # a network of plain weights may be sharded
    network, x = ReflectionRNN(3, 8, 2, additive=True, dtype=torch.float64), draw_reals()
    expected = network(x)[0]
    fully_shard(network, mesh=mesh)
    torch.testing.assert_close(network(x)[0], expected)

    for kept in (False, True):
        model = build()
        with pytest.raises(TypeError, match=r"weight_hh_l0 cannot be taken out.*ignored_modules"):
            FullyShardedDataParallel(model, use_orig_params=kept, device_id=torch.device("cpu"))
        assert orthogonality_error(model[1]) < 1e-12

    torch.manual_seed(0)  # the way out: replicate the recurrent part, shard the rest
    model = build()
    replicate(model[1])
    fully_shard(model, mesh=mesh)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    train(model, [x[:, rank::2]])
    torch.manual_seed(0)
    alone = build()
    train(alone, [x])
    torch.testing.assert_close(model[1].weight_hh_l0.data, alone[1].weight_hh_l0.data)
    torch.testing.assert_close(model[0].weight.full_tensor().data, alone[0].weight.data)


def test_sharding_is_refused_before_the_module_is_touched_and_replication_beside_it_works():
    in_two_processes(sharded)
