"""The one seam through which file- and fold-sized work leaves the process."""

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor


def open_executor(n_workers: int) -> Executor:
    """A pool of `n_workers` processes; use it as a context manager.

    Workers are spawned, not forked: polars and LightGBM keep threads, and a forked child may
    inherit their locks held.
    """
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"))
