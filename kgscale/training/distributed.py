"""What several processes do together: launch, agree on words, exchange rows and sums."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from typing import IO, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from kgscale.errors import ConfigError, DataError, KgscaleError, ResourceError
from kgscale.kernels.rows import sum_duplicates

Sums = TypeVar("Sums")

_RENDEZVOUS: Final = "KGSCALE_RENDEZVOUS"
"""Tells a process that :func:`process_group` started where its rank 0 listens."""
_PATIENCE: Final = timedelta(days=1)
"""Rank 0 may read a graph for hours meanwhile; a rank that dies is noticed at once anyway."""
_GROUPS: Final = itertools.count()
"""Numbers the groups that this process was in, the same on every rank."""
_GRACE: Final = 10.0
"""Seconds for a process to end by itself."""


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def launched_externally() -> bool:
    """Whether torchrun (or :func:`process_group`) has started this process as one of several."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_leader() -> bool:
    """Whether this process prints and writes; known before the processes have met."""
    return not launched_externally() or os.environ.get("RANK", "0") == "0"


def check_devices(devices: int) -> None:
    """Refuse a launcher's number of processes that differs from the settings'."""
    started = devices
    if launched_externally():
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            told = os.environ.get(name, "0")
            if not (told.isascii() and told.isdigit()):
                raise ConfigError(f"{name}={told}: a launcher of processes sets a number there")
        started = int(os.environ["WORLD_SIZE"])
    if started != devices:
        raise ConfigError(
            f"the launcher started {started} processes and trainer.devices is {devices}: set"
            f" trainer=ddp trainer.devices={started}"
        )


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


def agree(*texts: str) -> list[str]:
    """What rank 0 says, on every rank; as bytes in a tensor, never as a pickled object."""
    if world_size() == 1:
        return list(texts)
    data = "\0".join(texts).encode() if rank() == 0 else b""
    length = torch.tensor([len(data)])
    dist.broadcast(length, src=0)
    said = torch.zeros(int(length), dtype=torch.uint8)
    said[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
    dist.broadcast(said, src=0)
    return bytes(said.tolist()).decode().split("\0")


@contextmanager
def process_group(backend: str, devices: int, command: Sequence[str]) -> Iterator[None]:
    """Be one of ``devices`` processes for a while.

    Under torchrun this process is one already. Otherwise it becomes rank 0 and starts the
    others as ``command``, which must lead them to this very call; whichever way it ends, no
    child and no environment variable is left behind.
    """
    if launched_externally():
        # Lightning deletes the launcher's WORLD_SIZE when it is done, which the next run needs.
        with _environment({}), _following(backend):
            yield
        return
    store = TCPStore("127.0.0.1", 0, devices, True, _PATIENCE, wait_for_workers=False)
    leader = {
        _RENDEZVOUS: f"127.0.0.1:{store.port}",
        "WORLD_SIZE": str(devices),
        "RANK": "0",
        "LOCAL_RANK": "0",
    }
    with _environment(leader), _Children(devices, command) as children:
        children.meet(store)
        try:
            dist.init_process_group(
                backend, store=store, rank=0, world_size=devices, timeout=_PATIENCE
            )
            yield
        finally:
            _leave()


@contextmanager
def _following(backend: str) -> Iterator[None]:
    """Join the processes that a launcher, or :func:`process_group` in rank 0, started."""
    index, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if _RENDEZVOUS in os.environ:
        host, _, port = os.environ[_RENDEZVOUS].rpartition(":")
        store: Store = TCPStore(host, int(port), count, False, _PATIENCE)
        store.set(f"ready/{index}", "")
    else:
        # Several runs in a process meet at one store: each under names of its own.
        store = PrefixStore(f"kgscale/{next(_GROUPS)}", _launcher_store())
    try:
        dist.init_process_group(
            backend, store=store, rank=index, world_size=count, timeout=_PATIENCE
        )
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise ResourceError(f"lost the other processes ({error})") from error
    finally:
        _leave()


@cache
def _launcher_store() -> Store:
    """Where the launcher's processes meet; it lives as long as the process."""
    store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    return store  # type: ignore[no-any-return]


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables by which Lightning knows its rank; afterwards all are as they were."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Children:
    """The processes of ranks 1 and up; their error output is kept, in case one fails."""

    def __init__(self, devices: int, command: Sequence[str]) -> None:
        self.command, self.ranks = [sys.executable, *command], range(1, devices)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.outputs: list[IO[bytes]] = []

    def __enter__(self) -> _Children:
        for index in self.ranks:
            self.outputs.append(tempfile.TemporaryFile())
            environment = {**os.environ, "RANK": str(index), "LOCAL_RANK": str(index)}
            self.processes.append(
                subprocess.Popen(
                    self.command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self.outputs[-1],
                    # Ctrl-C in a terminal is for rank 0, which ends the others in time.
                    process_group=0,
                )
            )
        return self

    def meet(self, store: TCPStore) -> None:
        """Wait until every process has started; stop if one has died."""
        for index in self.ranks:
            while not store.check([f"ready/{index}"]):
                if any(process.poll() is not None for process in self.processes):
                    raise RuntimeError("a process has ended before the others met it")
                time.sleep(0.05)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        ended = self._first_failure() if isinstance(error, RuntimeError) else None
        try:
            if error is None:
                self._wait()
        finally:
            self._end()
            for output in self.outputs:
                output.close()
        if ended is not None:
            raise ended from error

    def _first_failure(self) -> KgscaleError | None:
        """Why rank 0 lost its company, if a process has died: its own last words."""
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            for index, process in zip(self.ranks, self.processes, strict=True):
                if process.poll():
                    return self._reason(index, process.returncode)
            time.sleep(0.05)
        return None

    def _reason(self, index: int, code: int) -> KgscaleError:
        output = self.outputs[index - 1]
        output.seek(0)
        words = output.read().decode(errors="replace").strip()
        if code < 0:
            name = signal.Signals(-code).name
            return ResourceError(
                f"process {index} of the run was ended by {name} (out of memory?); what was best"
                " so far is in the run directory's checkpoints"
            )
        kinds = {kind.exit_code: kind for kind in (ConfigError, DataError, ResourceError)}
        if code in kinds and words:
            return kinds[code](words.splitlines()[-1].removeprefix("kgscale: "))
        sys.stderr.write(words + "\n")
        return ResourceError(f"process {index} of the run failed with exit code {code}, see above")

    def _wait(self) -> None:
        deadline = time.monotonic() + _GRACE
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return

    def _end(self) -> None:
        for process in self.processes:
            process.terminate()
        self._wait()
        for process in self.processes:
            process.kill()
            process.wait()
