"""Rows made by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

R = TypeVar("R")


def in_parallel(
    make: Callable[..., R], rows: Iterable[Any], workers: int | None = None, chunksize: int = 1
) -> list[R]:
    """`make` of each row, in order; `None` takes a process for each core.

    The processes are started anew and not forked: a fork of a program that has used OpenCV on several threads has
    the locks of threads that it lacks, and `cv2.setNumThreads` in it never returns. A script that calls this needs
    its `if __name__ == "__main__"`.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(make, rows, chunksize=chunksize))
