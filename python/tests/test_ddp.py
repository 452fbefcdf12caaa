"""Two gloo processes under DistributedDataParallel, each with half of the batch, against one process with all of it."""
import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from common import SETTINGS, mlp, mlp_batches, mlp_loss, moved, same
from vlorp.optim import ProjFactor

STEPS = 5


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def halves(batch, rank):
    x, y = batch
    x, y = x.reshape(-1, 48)[:34], y.reshape(-1, 8)[:34]
    return (x, y) if rank is None else (x[17 * rank:17 * rank + 17], y[17 * rank:17 * rank + 17])


def loop(model, forward, optimizer, rank):
    norms = []
    for i, batch in enumerate(mlp_batches(2 * STEPS)):
        x, y = halves(batch, rank)
        synced = i % 2 == 1
        context = forward.no_sync() if rank is not None and not synced else torch.enable_grad()
        with context:
            (forward(x) - y).square().mean().backward()
        if synced:
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
            optimizer.step()
            forward.zero_grad()
    return norms


def worker(rank, port, folder, factored):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    counted = []
    all_reduce = dist.all_reduce
    dist.all_reduce = lambda t, **kw: (counted.append(t.nbytes), all_reduce(t, **kw))[1]
    model = mlp()
    if rank == 1:  # rank 0's weights count
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1.0)
    optimizer = ProjFactor(model, **SETTINGS | dict(factored=factored))
    forward = torch.nn.parallel.DistributedDataParallel(model)
    norms = loop(model, forward, optimizer, rank)
    error = ""
    mlp_loss(forward, mlp_batches(1)[0]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    try:
        mlp_loss(forward, mlp_batches(1)[0]).backward()
    except RuntimeError as caught:
        error = str(caught)
    try:
        ProjFactor(forward)
    except ValueError as caught:
        error += str(caught)
    torch.save({"model": model.state_dict(), "norms": norms, "bytes": optimizer.ranks.bytes_reduced,
                "counted": sum(counted), "error": error}, f"{folder}/{factored}-{rank}")
    dist.destroy_process_group()


def test_two_ranks_are_one_process(tmp_path):
    model = mlp()
    optimizer = ProjFactor(model, **SETTINGS)
    norms = loop(model, model, optimizer, None)
    for factored in (True, False):
        mp.start_processes(worker, (free_port(), str(tmp_path), factored), nprocs=2, start_method="spawn")
        results = [torch.load(tmp_path / f"{factored}-{rank}") for rank in range(2)]
        for result in results:
            other = mlp()
            other.load_state_dict(result["model"])
            assert moved(model, other, mlp()) < 1e-5 and same(norms, result["norms"])
            # S of [96, 48] and [32, 96] at M = 16 and [8, 32] whole, not the gradients; 5 steps and the clipping after
            # them
            assert result["bytes"] == result["counted"] == (STEPS + 1) * 4 * (96 * 16 + 16 * 96 + 8 * 32)
            assert result["bytes"] < (STEPS + 1) * 4 * (96 * 48 + 32 * 96 + 8 * 32) / 2
            assert "summed over the ranks already" in result["error"]
            assert "before DistributedDataParallel" in result["error"]
        assert all(torch.equal(a, b) for a, b in zip(results[0]["model"].values(), results[1]["model"].values()))


if __name__ == "__main__":
    sys.exit("run it with pytest")
