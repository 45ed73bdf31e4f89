"""What a user's function does, as far as it can be seen: part of the name of weights that were trained with it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import types
from collections.abc import Mapping
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


def _codes_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: code_of(value) for key, value in values.items()}


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is bound later
        return False
