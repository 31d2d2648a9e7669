"""The event loop on which `async def` functions run, in a thread of its own.

So a plain function on the main thread does not block them, nor they it. Both cores use this.
"""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Awaitable, Hashable
from typing import Any, Callable, Optional

from pyproc_worker._calls import current
from pyproc_worker._errors import Cancelled
from pyproc_worker._system import unpatched
from pyproc_worker._system.async_exceptions import ends_worker, log_async_exception

Token = Hashable
"""Identifies a call for the owner of the event loop."""

Start = Callable[[Any], Awaitable[Any]]
"""Starts a call with the body of its request."""

STOP_LIMIT = 1.0  # seconds that cancelled tasks have to end

on_busy: Optional[Callable[["EventLoopThread"], None]] = None
"""Called on the event loop's thread when a call starts while none is in flight."""


class EventLoopThread:
    """Runs any number of calls at once; the thread begins with the first of them.

    `answer` is called on the thread for each call, with the result or the exception: once, or
    again before the next `flush` if an asynchronous exception interrupted it. `SystemExit` and
    `KeyboardInterrupt` end the worker; their token is None if a task that a call left behind raised
    them. `flush` is called after each batch of answers, so that they are sent together. It may be
    interrupted and repeated, too.
    """

    def __init__(
        self,
        answer: Callable[[Token, Any, Optional[BaseException]], None],
        flush: Callable[[], None],
    ) -> None:
        self._answer = answer
        self._flush = flush
        self._lock = unpatched.Lock()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[unpatched.Thread] = None
        self._failure: Optional[Exception] = None
        self._stopping = False
        self._submitted = 0  # changes under the lock
        self._unstarted: deque[tuple[Token, Start, Any]] = deque()
        # The rest belongs to the thread.
        self._answered = 0
        self._tasks: dict[Token, asyncio.Future[Any]] = {}
        self._cancelled: set[Token] = set()
        self._flush_is_due = False

    @property
    def running(self) -> int:
        """The number of calls in flight."""
        return self._submitted - self._answered

    def submit(self, calls: list[tuple[Token, Start, Any]]) -> None:
        """Starts calls, each a token, its `Start` and the body. From any thread.

        The thread wakes up once for the whole list. After `stop` nothing is started.
        """
        with self._lock:
            loop = self._loop or self._begin()
            self._submitted += len(calls)
        self._unstarted.extend(calls)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._start)

    def cancel(self, token: Token) -> None:
        """Cancels a call's task, if it is still running. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel, token)

    def stop(self, limit: float = STOP_LIMIT) -> None:
        """Cancels the calls in flight and ends the thread. Waits for `limit` seconds at most."""
        self._stopping = True
        if self._loop is None or self._thread is None:
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(limit)

    def _begin(self) -> asyncio.AbstractEventLoop:
        made = unpatched.Lock()
        made.acquire()
        thread = unpatched.Thread(lambda: self._make_and_run(made), "pyproc-asyncio")
        thread.start()
        self._thread = thread
        made.acquire()
        if self._loop is None:
            raise RuntimeError("the event loop could not be made") from self._failure
        return self._loop

    # On the thread

    def _make_and_run(self, made: Any) -> None:
        # Here, as gevent's parts of an event loop belong to the thread that creates them.
        try:
            loop = self._loop = asyncio.new_event_loop()  # by the script's policy
        except Exception as error:
            self._failure = error
            return
        finally:
            made.release()
        self._run(loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(self._on_error)
        try:
            while not self._stopping:
                try:
                    self._catch_up(loop)
                    loop.run_forever()
                except BaseException as error:
                    if ends_worker(error):
                        self._answer(None, None, error)
                    else:
                        log_async_exception(error)
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                _wind_up(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback failed: perhaps one of ours that an asynchronous exception interrupted."""
        loop.default_exception_handler(context)
        self._catch_up(loop)

    def _catch_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Repeats the steps that an asynchronous exception may have interrupted."""
        loop.call_soon(self._start)
        for token, task in list(self._tasks.items()):
            if task.done():
                loop.call_soon(self._try_again, token, task)
        loop.call_soon(self._flush_now)

    def _start(self) -> None:
        if on_busy is not None and self._unstarted and not self._tasks:
            on_busy(self)
        while self._unstarted:
            token = None
            try:
                token, start, body = self._unstarted.popleft()
                task = current.base.copy().run(self._task_of, start, body)
                self._tasks[token] = task
                task.add_done_callback(functools.partial(self._on_done, token))
            except BaseException as error:  # the body does not fit the parameters
                if token is None:
                    raise
                self._finish(token, None, error)

    def _task_of(self, start: Start, body: Any) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(start(body), loop=self._loop)

    def _cancel(self, token: Token) -> None:
        task = self._tasks.get(token)
        if task is not None:
            self._cancelled.add(token)
            task.cancel()

    def _try_again(self, token: Token, task: "asyncio.Future[Any]") -> None:
        try:
            self._on_done(token, task)
        finally:
            self._tasks.pop(token, None)

    def _on_done(self, token: Token, task: "asyncio.Future[Any]") -> None:
        if self._tasks.get(token) is not task:  # answered already
            return
        by_client = token in self._cancelled
        try:
            error = task.exception()
        except asyncio.CancelledError as cancellation:
            error = cancellation
            if by_client:
                error = Cancelled("the client cancelled the request while it ran")
        self._finish(token, None if error else task.result(), error)

    def _finish(self, token: Token, result: Any, error: Optional[BaseException]) -> None:
        self._answer(token, result, error)
        if not self._flush_is_due:
            asyncio.get_running_loop().call_soon(self._flush_now)
            self._flush_is_due = True
        self._answered += 1
        self._cancelled.discard(token)
        self._tasks.pop(token, None)  # last: until then this may be repeated

    def _flush_now(self) -> None:
        self._flush_is_due = False
        self._flush()


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels all tasks, and gives them a limited time to end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=STOP_LIMIT))
    loop.run_until_complete(loop.shutdown_asyncgens())
