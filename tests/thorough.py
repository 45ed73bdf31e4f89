"""How much of a thing a test looks at: enough in every run, and the whole where heavy tests are asked for.

In a test whose statement does not depend on how many draws, rows or seeds there are, only how surely it is tested::

    @thorough("trials", 200, 1000)
    def test_draws_are_those_of_the_paper(trials): ...

And where hundreds of equal cases would each be a test of a few milliseconds, one test says which of them failed::

    for case in CASES:
        with case_of(case):
            assert ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def thorough(name: str, some: Any, whole: Any) -> pytest.MarkDecorator:
    """Parametrises a test by ``some`` in every run, and by ``whole`` with ``-m heavy``."""
    return pytest.mark.parametrize(name, [some, pytest.param(whole, marks=pytest.mark.heavy)])


@contextmanager
def case_of(*case: object) -> Iterator[None]:
    """What fails in here says in which case."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {', '.join(map(str, case))}")
        raise
