"""Constructor = configuration = repr: what is promised of everything that a name or a cache key stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def check_frozen(thing: Any) -> None:
    """A frozen dataclass."""
    assert dataclasses.is_dataclass(thing), f"{type(thing).__name__}: @dataclass(frozen=True)"
    assert type(thing).__dataclass_params__.frozen, f"{type(thing).__name__} is frozen"  # type: ignore[union-attr]


def check_repr(thing: Any, known: Mapping[str, Any]) -> None:
    """Its fields make it again, and so does its repr.

    Args:
        thing: a frozen dataclass.
        known: names that its repr may hold besides its own.
    """
    cls = type(thing)
    again = cls(**{one.name: getattr(thing, one.name) for one in dataclasses.fields(thing) if one.init})
    assert again == thing, f"two {cls.__name__} with the same options are equal"
    assert hash(again) == hash(thing), f"two equal {cls.__name__} have one hash"
    shown = eval(repr(thing), {**known, cls.__name__: cls})
    assert shown == thing, f"{thing!r} makes another one: its repr names every option"
