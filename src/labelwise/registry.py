"""Registration by being there: a class in a module of the right folder is known by its ``name``.

Nothing is listed by hand and nothing has to be decorated. ``package.module:attribute`` works wherever a registered
name does, so that code outside labelwise needs no registration at all.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from labelwise.errors import ConfigError, unknown, whose

T = TypeVar("T")


#: folders of files that name code, in the order in which they were read
_FOLDERS: list[str] = []


def beside(folder: Path) -> None:
    """Lets code be named as ``module:name`` by a file in this folder, where the module lies beside the file.

    Searched last, so that nothing there stands in the way of a library.
    """
    place = str(folder.resolve())
    if place not in _FOLDERS:
        _FOLDERS.append(place)
        sys.path.append(place)
        importlib.invalidate_caches()


def import_object(reference: str) -> Any:
    """The object that ``package.module:attribute`` names.

    What such a module raises while it is imported is not caught: it is code of somebody's own.

    Raises:
        ConfigError: when the module or the attribute is missing; says where it was looked for.
    """
    module_name, _, attribute = reference.partition(":")
    how = "Write it as package.module:name"
    if not all(part.isidentifier() for part in module_name.split(".")) or not attribute.isidentifier():
        raise ConfigError(f"cannot import {reference!r:.80}: that names no module. {how}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself wants
        where = ", ".join(dict.fromkeys([*_FOLDERS[-2:], str(Path.cwd())]))
        raise ConfigError(
            f"cannot import {reference!r:.80}: {error}. Looked in {where:.120} and among what is installed. {how}"
        ) from error
    if not hasattr(module, attribute):
        near = [name for name in vars(module) if not name.startswith("_")]
        file = getattr(module, "__file__", None) or module_name
        raise ConfigError(
            f"cannot import {reference!r:.80}: {file} has {', '.join(near):.100}, and not {attribute!r:.40}"
        )
    return getattr(module, attribute)


def made_by(reference: str, *arguments: Any, told: str) -> Any:
    """What the function or class makes that ``package.module:attribute`` names.

    Args:
        reference: names it.
        arguments: what it is called with.
        told: these, in words.

    Raises:
        ConfigError: it is missing, or cannot be called so.
    """
    found = import_object(reference)
    if not callable(found):
        raise ConfigError(f"{reference!r} is {type(found).__name__} and cannot be called: name a function or a class")
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        raise ConfigError(
            f"{reference!r} is called with {told}, and does not take that: {error} ({whose(found)})"
        ) from None
    except ValueError:  # made in C: nobody knows its signature
        pass
    return found(*arguments)


class Registry(Generic[T]):
    """The concrete subclasses of ``base`` found in the modules of ``package``, by ``name`` and ``aliases``.

    Args:
        kind: what one entry is called in messages, e.g. ``strategy``.
        package: dotted name of the folder whose modules are searched.
        base: the abstract class; only its subclasses with a ``name`` of their own count.
    """

    def __init__(self, kind: str, package: str, base: type[T]) -> None:
        self.kind = kind
        self.package = package
        self.base = base

    @cached_property
    def _classes(self) -> dict[str, type[T]]:
        found: dict[str, type[T]] = {}
        package = importlib.import_module(self.package)
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{self.package}.{info.name}")
            for cls in vars(module).values():
                if not (inspect.isclass(cls) and issubclass(cls, self.base) and cls.__module__ == module.__name__):
                    continue
                if "name" not in vars(cls):
                    continue
                if vars(cls)["name"] in found:
                    raise ConfigError(f"two {self.kind} classes are called {vars(cls)['name']!r}: rename one of them")
                found[vars(cls)["name"]] = cls
        return found

    def names(self) -> list[str]:
        """All registered names, sorted; aliases are left out."""
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """The class called ``name`` (or an alias of it, or ``package.module:name``).

        Raises:
            ConfigError: for an unknown name, with the nearest ones.
        """
        if ":" in name:
            cls = import_object(name)
            if not (inspect.isclass(cls) and issubclass(cls, self.base)):
                raise ConfigError(f"{name!r} is not a {self.base.__name__}: give a subclass of {self.base.__name__}")
            return cls
        aliases = {alias: cls for cls in self._classes.values() for alias in getattr(cls, "aliases", ())}
        if (cls := self._classes.get(name) or aliases.get(name)) is None:
            raise unknown(self.kind, name, [*self._classes, *aliases])
        return cls

    def create(self, name: str, **options: Any) -> T:
        """An instance of the class called ``name`` with these constructor options.

        Raises:
            ConfigError: for an unknown name or option, or a value the class refuses.
        """
        cls = self.get(name)
        check_options(cls, options, f"{self.kind} {name!r}")
        try:
            return cls(**as_declared(cls, options))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.kind} {name!r} refuses {options}: {error}") from error


def option_names(cls: type) -> list[str] | None:
    """What the constructor of a dataclass takes by name; None where nobody can tell."""
    return [one.name for one in dataclasses.fields(cls) if one.init] if dataclasses.is_dataclass(cls) else None


def check_options(cls: type, options: Mapping[str, Any], what: str, *, without: Sequence[str] = ()) -> None:
    """Refuses options that a class does not have, and values that its annotations do not allow.

    Args:
        cls: whose constructor takes them.
        options: by name.
        what: the class in messages, e.g. ``strategy 'margin'``.
        without: what it takes and is no option.

    Raises:
        ConfigError: names the option, what was got and what is allowed.
    """
    names = option_names(cls)
    allowed = None if names is None else [name for name in names if name not in without]
    for option in options:
        if allowed is not None and option not in allowed:
            raise unknown(f"option of {what}", option, allowed)
    hints = _hints(cls)
    for option, value in options.items():
        hint = hints.get(option, Any)
        if _fits(value, hint):
            continue
        choices = [choice for kind in (hint, *typing.get_args(hint)) for choice in _choices(kind)]
        if choices:
            raise unknown(f"value of {option!r} for {what}:", str(value), [str(choice) for choice in choices])
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        raise ConfigError(f"{what} got {option} = {value!r} ({type(value).__name__}): give {wanted}")


def as_declared(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a frozen class keeps them: lists, which files write, are tuples where it declares no list.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Points:
        ...     sides: tuple[tuple[str, int], ...] = ()
        >>> Points(**as_declared(Points, {"sides": [["left", 1]]}))
        Points(sides=(('left', 1),))
    """
    hints = _hints(cls)
    return {
        name: value if _fits(value, hints.get(name, Any), listed=True) else _tupled(value)
        for name, value in options.items()
    }


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _hints(cls: type) -> dict[str, Any]:
    """What a class says of its fields; {} of one with names that exist only for type checkers."""
    try:
        return typing.get_type_hints(cls)
    except NameError:
        return {}


def _choices(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _fits(value: Any, hint: Any, *, listed: bool = False) -> bool:
    """Whether a value is of a declared type; a list counts as a tuple unless ``listed``."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part, listed=listed) for part in typing.get_args(hint))
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    kind = types.NoneType if hint is None else origin or hint
    if kind is tuple and isinstance(value, list):
        return not listed
    return not isinstance(kind, type) or isinstance(value, kind)
