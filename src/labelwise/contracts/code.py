"""What somebody's own code does, as far as it can be seen: part of the name of weights that were trained with it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from labelwise.rng import digest


def code_of(value: Any) -> str:
    """A text that changes when a function's code, its defaults, or a value that it closes over does.

    Example:
        >>> def builder(width):
        ...     return lambda: [width]
        >>> code_of(builder(3)) == code_of(builder(3)), code_of(builder(3)) == code_of(builder(4))
        (True, False)
    """
    if isinstance(value, functools.partial):
        return digest("partial", code_of(value.func), list(map(code_of, value.args)), _codes_of(value.keywords))
    if not callable(value):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__qualname__)}"
    parts: list[Any] = []
    with contextlib.suppress(OSError, TypeError):
        parts.append(inspect.getsource(value))
    if isinstance(value, types.FunctionType):
        # two functions on one line have one source, and a closure builds what its cells say
        constants = [constant for constant in value.__code__.co_consts if not isinstance(constant, types.CodeType)]
        parts += [list(map(repr, constants)), value.__code__.co_names]
        parts += [[code_of(default) for default in value.__defaults__ or ()], _codes_of(value.__kwdefaults__ or {})]
        parts.append([code_of(cell.cell_contents) for cell in value.__closure__ or () if _is_filled(cell)])
    return f"{name}#{digest(*parts)}"


def own_code(value: Any) -> str:
    """As ``code_of`` of a function or a class and of all that it uses of its own module; "" for code of labelwise.

    What it imports is not looked at.

    Example:
        >>> from labelwise.contracts.losses import image_losses
        >>> own_code(image_losses), own_code(print) == own_code(len)
        ('', False)
    """
    if (getattr(value, "__module__", None) or "").split(".")[0] == "labelwise":
        return ""
    found: dict[str, str] = {}
    waiting = [(getattr(value, "__qualname__", ""), value)]
    while waiting:
        name, thing = waiting.pop()
        if name not in found:
            found[name] = _text_of(thing)
            waiting += _used_by(thing)
    return digest(sorted(found.items()))


def _text_of(thing: Any) -> str:
    """Source of a class, with what its methods are compiled to where nobody has it; else ``code_of``."""
    if not isinstance(thing, type):
        return code_of(thing)
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(thing)
    plain = [[each for each in code.co_consts if not isinstance(each, types.CodeType)] for code in _codes_in(thing)]
    return digest([code.co_code.hex() for code in _codes_in(thing)], repr(plain))


def _used_by(thing: Any) -> Iterator[tuple[str, Any]]:
    """Functions, classes and plain values of the same module that its code names, and its base classes."""
    module = getattr(thing, "__module__", None)
    around = vars(sys.modules[module]) if module in sys.modules else {}
    if isinstance(thing, type):
        yield from ((base.__qualname__, base) for base in thing.__bases__ if base.__module__ == module)
    for name in sorted({name for code in _codes_in(thing) for name in code.co_names}):
        used = around.get(name)
        if isinstance(used, type | types.FunctionType):
            if used.__module__ == module:
                yield used.__qualname__, used
        elif isinstance(used, int | float | str | tuple):
            yield name, used


def _codes_in(thing: Any) -> Iterator[types.CodeType]:
    """All code that a function or the methods of a class are compiled to."""
    parts = list(vars(thing).values()) if isinstance(thing, type) else [thing]
    waiting = [found for part in parts if (found := getattr(getattr(part, "fget", part), "__code__", None)) is not None]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]


def _codes_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: code_of(value) for key, value in values.items()}


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is bound later
        return False
