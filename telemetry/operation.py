"""Wraps functions of any shape (plain, coroutine, generator, async generator) around an operation that begins and ends.

While the function's own code runs, the operation's context is current, so that whatever it does nests below; while a
generator is suspended the caller's context is, so that nothing leaks into code that merely consumes it.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import wrapt
from opentelemetry import context

log = logging.getLogger(__name__)


class Operation(Protocol):
    """Something that runs. `end` is called exactly once: with a result, an error, or neither (a consumed stream)."""

    context: context.Context

    def chunk(self, item: Any) -> None: ...
    def end(self, result: Any, error: BaseException | None) -> None: ...


Begin = Callable[[Any, dict[str, Any]], Operation | None]  # (instance, arguments by name)


class Recording:
    """Runs a function within the operation that `begin` makes of each call; unobserved if `begin` fails."""

    def __init__(self, function: Callable[..., Any], begin: Begin) -> None:
        self._names = [p for p in inspect.signature(function).parameters if p != "self"]
        self._begin = begin

    def plain(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        operation = self._start(instance, args, kwargs)
        if operation is None:
            return wrapped(*args, **kwargs)
        with _running(operation):
            try:
                result = wrapped(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            _end(operation, result, None)
            return result

    async def coroutine(self, wrapped: Callable[..., Awaitable[Any]], instance: Any, args: Any, kwargs: Any) -> Any:
        operation = self._start(instance, args, kwargs)
        if operation is None:
            return await wrapped(*args, **kwargs)
        with _running(operation):
            try:
                result = await wrapped(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            _end(operation, result, None)
            return result

    def generator(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        inner = wrapped(*args, **kwargs)
        operation = self._start(instance, args, kwargs)
        if operation is None:
            yield from inner
            return
        error: BaseException | None = None
        try:
            while True:
                with _running(operation):
                    try:
                        item = next(inner)
                    except StopIteration:
                        return
                    operation.chunk(item)
                yield item
        except BaseException as raised:
            error = raised
            raise
        finally:
            with _running(operation):
                try:
                    inner.close()
                finally:
                    _end(operation, None, error)

    async def async_generator(
        self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
    ) -> AsyncIterator[Any]:
        inner = wrapped(*args, **kwargs)
        operation = self._start(instance, args, kwargs)
        if operation is None:
            async for item in inner:
                yield item
            return
        error: BaseException | None = None
        try:
            while True:
                with _running(operation):
                    try:
                        item = await anext(inner)
                    except StopAsyncIteration:
                        return
                    operation.chunk(item)
                yield item
        except BaseException as raised:
            error = raised
            raise
        finally:
            with _running(operation):
                try:
                    await inner.aclose()
                finally:
                    _end(operation, None, error)

    def _start(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        try:
            return self._begin(instance, {**dict(zip(self._names, args, strict=False)), **kwargs})
        except Exception:
            log.exception("an operation could not be recorded; it runs unrecorded")
            return None


def record(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """`function`, observed."""
    recording = Recording(function, begin)
    wrapper: Callable[..., Any] = recording.plain
    if inspect.isasyncgenfunction(function):
        wrapper = recording.async_generator
    elif inspect.isgeneratorfunction(function):
        wrapper = recording.generator
    elif inspect.iscoroutinefunction(function):
        wrapper = recording.coroutine
    observed: Callable[..., Any] = wrapt.FunctionWrapper(function, wrapper)
    return observed


@contextmanager
def _running(operation: Operation) -> Iterator[None]:
    token = context.attach(operation.context)
    try:
        yield
    finally:
        context.detach(token)


def _end(operation: Operation, result: Any, error: BaseException | None) -> None:
    try:
        operation.end(result, error)
    except Exception:
        log.exception("the end of an operation could not be recorded")
