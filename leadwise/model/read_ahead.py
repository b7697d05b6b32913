"""Read recordings ahead of the networks: in order, in batches, as many as fit into a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")
IN_FLIGHT: Final = 32_000_000  # numbers of all signals that are read or computed at a time: 128 MB in fp32
OF_A_BATCH: Final = 24_000_000  # of those that go through the networks together: 64 signals of 120 s at 257 Hz fit


class Task(NamedTuple, Generic[T]):
    """A signal to read."""

    read: Callable[[], T]
    size: int  # expected numbers in it


class Caller(Executor):
    """Run each task at once, in the thread that submits it."""

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        """Return the finished task."""
        future: Future[Any] = Future()
        try:
            future.set_result(task(*arguments, **more))
        except Exception as error:
            future.set_exception(error)
        return future


class ReadAhead(Generic[T]):
    """Iterate over what tasks read, in order, in batches of up to `batch`; `jobs` threads read the next two batches
    meanwhile. Without jobs the caller reads: that is faster if nothing waits for a disk or a GPU, since threads of
    Python stop one another. A signal of more than `IN_FLIGHT` numbers is alone in memory, if a batch is emptied after
    its use."""

    def __init__(self, tasks: Iterable[Task[T]], batch: int, jobs: int) -> None:
        self.tasks, self.batch, self.jobs = iter(tasks), batch, jobs
        self.next: Task[T] | None = None  # taken from `tasks`, but too large to be read now
        self.reading: deque[tuple[Future[T], int]] = deque()
        self.in_flight = 0

    def __iter__(self) -> Iterator[list[T]]:
        with ThreadPoolExecutor(self.jobs) if self.jobs else Caller() as readers:
            self._submit(readers)
            while self.reading:
                futures, size = self._take()
                self._submit(readers)
                yield [futures.popleft().result() for _ in range(len(futures))]  # without keeping any
                self.in_flight -= size
                self._submit(readers)

    def _submit(self, readers: Executor) -> None:
        while len(self.reading) < 2 * self.batch:
            task = self.next = self.next or next(self.tasks, None)
            if task is None or (self.in_flight and self.in_flight + task.size > IN_FLIGHT):
                return
            self.reading.append((readers.submit(task.read), task.size))
            self.in_flight += task.size
            self.next = None

    def _take(self) -> tuple[deque[Future[T]], int]:
        """Return the next batch and its size."""
        futures, size = deque[Future[T]](), 0
        while self.reading and len(futures) < self.batch and (not futures or size + self.reading[0][1] <= OF_A_BATCH):
            future, of_future = self.reading.popleft()
            futures.append(future)
            size += of_future
        return futures, size
