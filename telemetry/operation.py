"""Wraps functions of any shape (plain, coroutine, generator, async generator) around an operation that begins and ends.

While the function's own code runs, the operation's context is current, so that whatever it does nests below; while a
generator is suspended the caller's context is, so that nothing leaks into code that merely consumes it.
"""

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, suppress
from contextvars import Token
from typing import Any, Protocol

import wrapt
from opentelemetry import context

log = logging.getLogger(__name__)


class Operation(Protocol):
    """Something that runs. `end` is called exactly once: with a result, an error, or neither (a consumed stream).

    It answers the result, which it may have wrapped.
    """

    context: context.Context

    def chunk(self, item: Any) -> None: ...
    def end(self, result: Any, error: BaseException | None) -> Any: ...


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
        token = context.attach(operation.context)
        try:
            try:
                result = wrapped(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            return _end(operation, result, None)
        finally:
            context.detach(token)

    async def coroutine(self, wrapped: Callable[..., Awaitable[Any]], instance: Any, args: Any, kwargs: Any) -> Any:
        operation = self._start(instance, args, kwargs)
        if operation is None:
            return await wrapped(*args, **kwargs)
        token = context.attach(operation.context)
        try:
            try:
                result = await wrapped(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            return _end(operation, result, None)
        finally:
            _leave(token)

    def generator(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        inner = wrapped(*args, **kwargs)
        operation = self._start(instance, args, kwargs)
        if operation is None:
            yield from inner
            return
        yield from iterate(inner, operation)

    async def async_generator(
        self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
    ) -> AsyncIterator[Any]:
        inner = wrapped(*args, **kwargs)
        operation = self._start(instance, args, kwargs)
        if operation is None:
            async for item in inner:
                yield item
            return
        async with aclosing(aiterate(inner, operation)) as observed:
            async for item in observed:
                yield item

    def _start(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        try:
            if args:
                kwargs = {**dict(zip(self._names, args, strict=False)), **kwargs}
            return self._begin(instance, kwargs)
        except Exception:
            log.exception("an operation could not be recorded; it runs unrecorded")
            return None


def iterate(inner: Iterator[Any], operation: Operation) -> Iterator[Any]:
    """What `inner` yields, which runs within the operation and ends it."""
    error: BaseException | None = None
    try:
        while True:
            token = context.attach(operation.context)
            try:
                item = next(inner)
                _chunk(operation, item)
            except StopIteration:
                return
            finally:
                context.detach(token)
            yield item
    except BaseException as raised:
        error = raised
        raise
    finally:
        token = context.attach(operation.context)
        try:
            if isinstance(inner, Generator):
                inner.close()
        finally:
            _end(operation, None, error)
            context.detach(token)


async def aiterate(inner: AsyncIterator[Any], operation: Operation) -> AsyncGenerator[Any, None]:
    """What `inner` yields, which runs within the operation and ends it."""
    error: BaseException | None = None
    try:
        while True:
            token = context.attach(operation.context)
            try:
                item = await anext(inner)
                _chunk(operation, item)
            except StopAsyncIteration:
                return
            finally:
                _leave(token)
            yield item
    except BaseException as raised:
        error = raised
        raise
    finally:
        token = context.attach(operation.context)
        try:
            if isinstance(inner, AsyncGenerator):
                await inner.aclose()
        finally:
            _end(operation, None, error)
            _leave(token)


def record(begin: Begin) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes functions observed ones."""

    def observed(function: Callable[..., Any]) -> Callable[..., Any]:
        recording = Recording(function, begin)
        wrapper: Callable[..., Any] = recording.plain
        if inspect.isasyncgenfunction(function):
            wrapper = recording.async_generator
        elif inspect.isgeneratorfunction(function):
            wrapper = recording.generator
        elif inspect.iscoroutinefunction(function):
            wrapper = recording.coroutine
        made: Callable[..., Any] = wrapt.FunctionWrapper(function, wrapper)
        return made

    return observed


def _leave(token: Token[context.Context]) -> None:
    """Not where it was not entered: a coroutine that nobody awaits any more is closed in some other context."""
    with suppress(ValueError):
        token.var.reset(token)


def _chunk(operation: Operation, item: Any) -> None:
    try:
        operation.chunk(item)
    except Exception:
        log.exception("a piece of a stream could not be recorded")


def _end(operation: Operation, result: Any, error: BaseException | None) -> Any:
    """The result, or what `end` made of it."""
    try:
        return operation.end(result, error)
    except Exception:
        log.exception("the end of an operation could not be recorded")
        return result
