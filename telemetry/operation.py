"""Wraps functions of any shape (plain, coroutine, generator, async generator) around an operation that begins and ends.

While the function's own code runs, the operation's context is current, so that whatever it does nests below; while a
generator is suspended the caller's context is, so that nothing leaks into code that merely consumes it.
"""

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Protocol

from opentelemetry import context

log = logging.getLogger(__name__)


class Operation(Protocol):
    """Something that runs. `end` is called exactly once: with a result, an error, or neither (a consumed stream).

    It answers the result, which it may have wrapped.
    """

    context: context.Context

    def chunk(self, item: Any) -> None: ...
    def end(self, result: Any, error: BaseException | None) -> Any: ...


Begin = Callable[[Any, dict[str, Any]], Operation | None]  # (first argument, such as self; the others by name)


def _where_the_current_context_is() -> ContextVar[context.Context]:
    """OpenTelemetry's own attach, detach and get_current take three calls each to come to it."""
    token = context.attach(context.get_current())
    try:
        return token.var
    finally:
        context.detach(token)


CURRENT = _where_the_current_context_is()


def record(begin: Begin) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes functions observed ones: each call is within the operation that `begin` makes of it.

    Where `begin` answers None, or fails, the call is not observed.
    """

    def observed(function: Callable[..., Any]) -> Callable[..., Any]:
        _, *names = inspect.signature(function).parameters

        def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
            try:
                if len(args) > 1:
                    kwargs = {**dict(zip(names, args[1:], strict=False)), **kwargs}
                return begin(args[0] if args else None, kwargs)
            except Exception:
                log.exception("an operation could not be recorded; it runs unrecorded")
                return None

        if inspect.isasyncgenfunction(function):
            wrapper = _async_generator(function, start)
        elif inspect.isgeneratorfunction(function):
            wrapper = _generator(function, start)
        elif inspect.iscoroutinefunction(function):
            wrapper = _coroutine(function, start)
        else:
            wrapper = _plain(function, start)
        return wraps(function)(wrapper)

    return observed


_Start = Callable[[tuple[Any, ...], dict[str, Any]], Operation | None]


def _plain(function: Callable[..., Any], start: _Start) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        operation = start(args, kwargs)
        if operation is None:
            return function(*args, **kwargs)
        token = CURRENT.set(operation.context)
        try:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            return _end(operation, result, None)
        finally:
            CURRENT.reset(token)

    return wrapper


def _coroutine(function: Callable[..., Awaitable[Any]], start: _Start) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        operation = start(args, kwargs)
        if operation is None:
            return await function(*args, **kwargs)
        token = CURRENT.set(operation.context)
        try:
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                _end(operation, None, error)
                raise
            return _end(operation, result, None)
        finally:
            _leave(token)

    return wrapper


def _generator(function: Callable[..., Iterator[Any]], start: _Start) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        inner = function(*args, **kwargs)
        operation = start(args, kwargs)
        return (yield from inner if operation is None else iterate(inner, operation))

    return wrapper


def _async_generator(function: Callable[..., AsyncIterator[Any]], start: _Start) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        inner = function(*args, **kwargs)
        operation = start(args, kwargs)
        if operation is None:
            async for item in inner:
                yield item
            return
        async with aclosing(aiterate(inner, operation)) as observed:
            async for item in observed:
                yield item

    return wrapper


def iterate(inner: Iterator[Any], operation: Operation) -> Iterator[Any]:
    """What `inner` yields, which runs within the operation and ends it."""
    error: BaseException | None = None
    try:
        while True:
            token = CURRENT.set(operation.context)
            try:
                item = next(inner)
                _chunk(operation, item)
            except StopIteration:
                return
            finally:
                CURRENT.reset(token)
            yield item
    except BaseException as raised:
        error = raised
        raise
    finally:
        token = CURRENT.set(operation.context)
        try:
            if isinstance(inner, Generator):
                inner.close()
        finally:
            _end(operation, None, error)
            CURRENT.reset(token)


async def aiterate(inner: AsyncIterator[Any], operation: Operation) -> AsyncGenerator[Any, None]:
    """What `inner` yields, which runs within the operation and ends it."""
    error: BaseException | None = None
    try:
        while True:
            token = CURRENT.set(operation.context)
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
        token = CURRENT.set(operation.context)
        try:
            if isinstance(inner, AsyncGenerator):
                await inner.aclose()
        finally:
            _end(operation, None, error)
            _leave(token)


def _leave(token: Token[context.Context]) -> None:
    """Not where it was not entered: a coroutine that nobody awaits any more is closed in some other context."""
    with suppress(ValueError):
        CURRENT.reset(token)


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
