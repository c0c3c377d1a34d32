"""Several single-threaded processes that train one model: gradients are averaged through shared memory after each step.

On CPUs that are shared with others this beats threads: these wait for each other at every operation, processes once a step.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import threading
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import torch
from torch import Tensor, nn

WAIT_S = 900


@dataclass
class Team:
    """One process's share in the common work.

    rank, size : which of how many
    board : (size, n + p + 1) float32 in shared memory, one row a process: its gradients, which of the p parameters have one,
        and its clock; None when alone
    barrier : where all meet; None when alone
    """

    rank: int = 0
    size: int = 1
    board: Tensor | None = None
    barrier: Barrier | None = None

    def average(self, parameters: list[nn.Parameter], clock: float) -> float:
        """Put the mean gradient of all processes into every parameter that one of them has one of; return the first's `clock`.

        Raises
        ------
        threading.BrokenBarrierError : another process is gone
        """
        if self.board is None or self.barrier is None:
            return clock
        numbers = [p.numel() for p in parameters]
        gradients, has, told = torch.split(self.board, [sum(numbers), len(parameters), 1], dim=1)
        parts = torch.split(gradients, numbers, dim=1)
        for k, (p, part) in enumerate(zip(parameters, parts, strict=True)):
            has[self.rank, k] = p.grad is not None
            part[self.rank] = 0 if p.grad is None else p.grad.reshape(-1)
        told[self.rank] = clock
        self.barrier.wait(WAIT_S)
        # an optimiser passes over what has no gradient, where one of zeros would let it decay
        means = [part.mean(dim=0) if any_has else None for part, any_has in zip(parts, has.any(dim=0), strict=True)]
        first = float(told[0])
        self.barrier.wait(WAIT_S)  # nobody writes again before all have read
        for p, mean in zip(parameters, means, strict=True):
            p.grad = None if mean is None else mean.view_as(p)
        return first

    def leave(self) -> None:
        """Let the others know at once that this process goes on no further."""
        if self.barrier is not None:
            self.barrier.abort()


def form(size: int, parameters: list[nn.Parameter]) -> list[Team]:
    """Return the shares of `size` processes that train models of such parameters."""
    if size == 1:
        return [Team()]
    numbers = sum(p.numel() for p in parameters) + len(parameters) + 1
    board: Tensor = torch.zeros(size, numbers).share_memory_()  # type: ignore[no-untyped-call]
    barrier = mp.get_context("spawn").Barrier(size)
    return [Team(rank, size, board, barrier) for rank in range(size)]


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that ended."""
    parent = mp.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
