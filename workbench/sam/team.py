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
    board : (size, n + 1) float32 in shared memory, one row a process; None when alone
    barrier : where all meet; None when alone
    """

    rank: int = 0
    size: int = 1
    board: Tensor | None = None
    barrier: Barrier | None = None

    def average(self, parameters: list[nn.Parameter], clock: float) -> float:
        """Put the mean gradient of all processes into every parameter; return the first process's `clock`.

        Raises
        ------
        threading.BrokenBarrierError : another process is gone
        """
        if self.board is None or self.barrier is None:
            return clock
        row = self.board[self.rank]
        at = 0
        for p in parameters:
            n = p.numel()
            if p.grad is None:
                row[at : at + n] = 0
            else:
                row[at : at + n] = p.grad.reshape(-1)
            at += n
        row[-1] = clock
        self.barrier.wait(WAIT_S)
        mean = self.board.mean(dim=0)
        told = float(self.board[0, -1])
        self.barrier.wait(WAIT_S)  # nobody writes again before all have read
        at = 0
        for p in parameters:
            p.grad = mean[at : at + p.numel()].view_as(p)
            at += p.numel()
        return told


def form(size: int, numbers: int) -> list[Team]:
    """Return the shares of `size` processes that train `numbers` parameters."""
    if size == 1:
        return [Team()]
    board: Tensor = torch.zeros(size, numbers + 1).share_memory_()  # type: ignore[no-untyped-call]
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
