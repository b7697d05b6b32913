"""Run tasks through joblib and yield their results in order: processes here, or a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import joblib

from leadwise.util.progress import log

TASKS_HELD: Final = 64  # tasks whose results are held in memory if a joblib backend returns none before it has all
MAX_DEATHS: Final = 3  # of workers in a row, without any result between them


def results_in_order(tasks: Iterable[Any], jobs: int) -> Iterator[Any]:
    """Yield the results of `joblib.delayed` tasks in their order, with `jobs` workers a few tasks ahead."""
    try:
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2 * n_jobs", batch_size=1)(tasks)
    except ValueError as error:
        if "return_as" not in str(error):
            raise
        # a joblib backend that returns no result before it has all, such as Ray's
        parallel, remaining = joblib.Parallel(n_jobs=jobs), iter(tasks)
        yield from chain.from_iterable(iter(lambda: parallel(islice(remaining, TASKS_HELD)), []))


def map_in_order(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Yield `function(*each)` in order. What a worker had when it died is done again; a Dask cluster sees to that
    itself, for other backends it is done here. Raises what the function raises, or after `MAX_DEATHS` the error of the
    last one."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    done = deaths = 0
    while done < len(arguments):
        try:
            for result in results_in_order((joblib.delayed(function)(*each) for each in arguments[done:]), jobs):
                yield result
                done, deaths = done + 1, 0
        except TerminatedWorkerError:
            deaths += 1
            if deaths == MAX_DEATHS:
                raise
            log.warning("a worker process died; its part is done again")
