"""Wraps functions of any shape (plain, coroutine, generator, async generator) around an operation that begins and ends.

While the function's own code runs, the operation's context is current, so that whatever it does nests below; while a
generator is suspended the caller's context is, so that nothing leaks into code that merely consumes it.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from opentelemetry import context

log = logging.getLogger(__name__)


class Operation(Protocol):
    """Something that runs. `end` is called exactly once: with a result, an error, or neither (a consumed stream)."""

    context: context.Context

    def chunk(self, item: Any) -> None: ...
    def end(self, result: Any, error: BaseException | None) -> None: ...


Begin = Callable[[Any, dict[str, Any]], Operation | None]  # (instance, arguments by name)


def wrapper(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """A wrapt wrapper for `function`. When `begin` fails or answers None the function runs unobserved."""
    names = [p for p in inspect.signature(function).parameters if p != "self"]

    def start(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        try:
            return begin(instance, {**dict(zip(names, args, strict=False)), **kwargs})
        except Exception:
            log.exception("an operation could not be recorded; it runs unrecorded")
            return None

    def plain(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        operation = start(instance, args, kwargs)
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

    async def coroutine(wrapped: Callable[..., Awaitable[Any]], instance: Any, args: Any, kwargs: Any) -> Any:
        operation = start(instance, args, kwargs)
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

    def generator(wrapped: Callable[..., Iterator[Any]], instance: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        operation = start(instance, args, kwargs)
        if operation is None:
            yield from wrapped(*args, **kwargs)
            return
        inner = wrapped(*args, **kwargs)
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
                    inner.close()  # type: ignore[attr-defined]  # agno's are generators
                finally:
                    _end(operation, None, error)

    async def async_generator(
        wrapped: Callable[..., AsyncIterator[Any]], instance: Any, args: Any, kwargs: Any
    ) -> AsyncIterator[Any]:
        operation = start(instance, args, kwargs)
        if operation is None:
            async for item in wrapped(*args, **kwargs):
                yield item
            return
        inner = wrapped(*args, **kwargs)
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
                    await inner.aclose()  # type: ignore[attr-defined]  # agno's are async generators
                finally:
                    _end(operation, None, error)

    if inspect.isasyncgenfunction(function):
        return async_generator
    if inspect.isgeneratorfunction(function):
        return generator
    return coroutine if inspect.iscoroutinefunction(function) else plain


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
