"""The one seam through which file- and fold-sized work leaves the process."""

import multiprocessing
import os
import threading
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any


def open_executor(n_workers: int) -> Executor:
    """A pool of `n_workers` processes; use it as a context manager.

    Workers are spawned, not forked: polars and LightGBM keep threads, and a forked child may
    inherit their locks held.
    """
    return ProcessPoolExecutor(
        n_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_with_parent
    )


def _leave_with_parent() -> None:
    """Workers of a process that was killed would wait for work for ever, or go on with theirs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()


def _leave_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
