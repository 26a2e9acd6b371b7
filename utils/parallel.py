"""One function over many items, in this process, on all cores, or on a cluster, by naming the backend.

joblib serves processes of this machine and Dask. Its Ray backend cannot give results as they come, so Ray is asked
itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from utils.choices import BACKENDS
from utils.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_KILLED = (
    "a worker process was killed, most likely because memory ran out; use fewer `jobs` and run again: "
    "what is finished will not be done again"
)
CONNECT_SECONDS = 10.0
"""How long a cluster may take to answer."""
_SIZE_ON_CLUSTER = -1
"""joblib's word for as many workers as the cluster has."""


class Done(NamedTuple, Generic[Item, Result]):
    """What became of one item: ``result``, or the message of the InputError that it ended with."""

    item: Item
    result: Result | None
    failure: str | None


def map_unordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    backend: str = "loky",
    cluster: str | None = None,
) -> Iterator[Done[Item, Result]]:
    """Call ``function`` for each item and give what became of it, as soon as it is known, in any order.

    An item that ends with an InputError does not stop the others; any other exception does.

    Args:
        function: taken to other processes by pickling; on a cluster the project must be importable there.
        items: one call each, begun in this order.
        jobs: how many at a time; 1 stays in this process, without the start of others.
        backend: ``"loky"``: processes of this machine; ``"dask"`` and ``"ray"``: workers of a cluster.
        cluster: address of the cluster; None: the one that Dask's or Ray's own settings name, or else a new one on
            this machine with ``jobs`` workers.

    Raises:
        InputError: the backend is not known or not installed, its cluster cannot be reached, or a worker was killed.
    """
    if backend not in BACKENDS:
        raise InputError(f"`backend`: expected one of {', '.join(BACKENDS)}, found {backend!r}")
    if jobs < 1:
        raise InputError(f"`jobs`: expected at least 1, found {jobs}")
    if backend == "loky" and jobs == 1:
        yield from (_attempt(function, item) for item in items)
        return
    if backend == "ray":
        with _ray_session(jobs, cluster):
            yield from _on_ray(function, items, jobs)
        return
    attempt = partial(_attempt_below, os.getpid()) if backend == "loky" else _attempt
    calls = (joblib.delayed(attempt)(function, item) for item in items)
    with _workers(backend, jobs, cluster) as count:
        # One item at a time: items are long, and whoever is free takes the next one.
        parallel = joblib.Parallel(
            n_jobs=count, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
        )
        try:
            yield from parallel(calls)
        except TerminatedWorkerError as error:
            raise InputError(_KILLED) from error


_watched: set[int] = set()  # processes that this one ends with


def _attempt_below(parent: int, function: Callable[[Item], Result], item: Item) -> Done[Item, Result]:
    """As `_attempt`, in a process that ends when its parent has been killed."""
    if parent not in _watched and parent != os.getpid():
        _watched.add(parent)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return _attempt(function, item)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _attempt(function: Callable[[Item], Result], item: Item) -> Done[Item, Result]:
    try:
        return Done(item, function(item), None)
    except InputError as error:
        return Done(item, None, str(error))


@contextmanager
def _workers(backend: str, jobs: int, cluster: str | None) -> Iterator[int]:
    """Start or join the workers of a backend; gives joblib's number of jobs."""
    if backend == "loky":
        with joblib.parallel_config("loky", n_jobs=jobs):
            yield jobs
    else:
        with _dask_client(jobs, cluster), joblib.parallel_config("dask", n_jobs=_SIZE_ON_CLUSTER):
            yield _SIZE_ON_CLUSTER


@contextmanager
def _dask_client(jobs: int, address: str | None) -> Iterator[None]:
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "`backend` dask: Dask is not installed here; run `pip install 'dask[distributed]'` or use `backend` loky"
        ) from error
    address = address or dask.config.get("scheduler-address", None)
    new = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    try:
        client = Client(address, timeout=CONNECT_SECONDS) if address else Client(**new)
    except (OSError, ValueError) as error:
        raise InputError(
            f"`cluster` {address}: no Dask scheduler answers there ({error}); check the address"
        ) from error
    with client:
        yield


@contextmanager
def _ray_session(jobs: int, address: str | None) -> Iterator[None]:
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "`backend` ray: Ray is not installed here; run `pip install ray` or use `backend` loky or dask"
        ) from error
    started = not ray.is_initialized()
    if started:
        address = address or os.environ.get("RAY_ADDRESS")
        # On a cluster Ray knows the number of processors; here it would take all.
        where = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
        # Workers of this machine find the project where this process does.
        here = {} if address else {"runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}}}
        try:
            ray.init(**where, **here, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise InputError(f"`cluster` {address}: no Ray cluster answers there ({error}); check it") from error
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _on_ray(function: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Done[Item, Result]]:
    """As `map_unordered`; twice as many items as jobs are handed out ahead."""
    import ray

    # A killed worker is told, not tried again: memory would run out again.
    task = ray.remote(max_retries=0)(_attempt)
    rest, waiting = iter(items), []
    try:
        while True:
            waiting += [task.remote(function, item) for item in islice(rest, max(0, 2 * jobs - len(waiting)))]
            if not waiting:
                return
            (ready,), waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(ready)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise InputError(_KILLED) from error
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from None
    finally:
        for each in waiting:
            ray.cancel(each, force=True)
