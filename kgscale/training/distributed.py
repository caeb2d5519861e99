"""What several processes do together: launch, agree on a directory, exchange rows and sums."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from kgscale.kernels.rows import sum_duplicates

Sums = TypeVar("Sums")


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def launched_externally() -> bool:
    """Whether torchrun (or another launcher) has started this process as one of several."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def sum_over_ranks(report: Sums) -> Sums:
    """Add up a dataclass of tensors over all ranks; every rank gets the sum."""
    if world_size() == 1:
        return report
    sums = {}
    for field in fields(report):  # type: ignore[arg-type]
        value = getattr(report, field.name).clone()
        dist.all_reduce(value)
        sums[field.name] = value
    return replace(report, **sums)  # type: ignore[type-var]


def exchange_rows(grad: Tensor) -> Tensor:
    """The mean over ranks of a sparse gradient, coalesced; ranks send only the rows they touched.

    Every rank concatenates the same parts in the same order, so all apply the same bits.
    """
    if not grad.is_sparse:
        return grad
    ids, rows = sum_duplicates(grad._indices()[0], grad._values())
    if world_size() > 1:
        ids, rows = sum_duplicates(_gather_rows(ids), _gather_rows(rows))
        rows = rows / world_size()
    return torch.sparse_coo_tensor(
        ids[None], rows, grad.shape, is_coalesced=True, check_invariants=False
    )


def _gather_rows(part: Tensor) -> Tensor:
    """All ranks' parts, of different lengths, in the order of ranks."""
    length = torch.tensor([part.shape[0]], device=part.device)
    lengths = [torch.zeros_like(length) for _ in range(world_size())]
    dist.all_gather(lengths, length)
    sizes = [int(size) for size in lengths]
    padded = part.new_zeros(max(sizes), *part.shape[1:])
    padded[: part.shape[0]] = part
    parts = [torch.zeros_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([whole[:size] for whole, size in zip(parts, sizes, strict=True)])


def agree(text: str) -> str:
    """What rank 0 says, on every rank; as bytes in a tensor, never as a pickled object."""
    if world_size() == 1:
        return text
    said = torch.zeros(4096, dtype=torch.uint8)
    if rank() == 0:
        data = text.encode()
        said[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    dist.all_reduce(said)
    return bytes(said.tolist()).rstrip(b"\0").decode()


@contextmanager
def process_group(backend: str, devices: int, command: Sequence[str]) -> Iterator[None]:
    """Be one of ``devices`` processes for a while.

    Under torchrun this process is one already. Otherwise it becomes rank 0 and starts the
    others as ``command``, which must lead them to this very call; whichever way it ends, no
    child and no environment variable is left behind.
    """
    children: list[subprocess.Popen[bytes]] = []
    before = dict(os.environ)
    if not launched_externally():
        os.environ.update(
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(_free_port()),
            WORLD_SIZE=str(devices),
            RANK="0",
            LOCAL_RANK="0",
        )
        for index in range(1, devices):
            environment = {**os.environ, "RANK": str(index), "LOCAL_RANK": str(index)}
            children.append(subprocess.Popen([sys.executable, *command], env=environment))
    try:
        dist.init_process_group(backend)
        yield
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for child in children:
            child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
