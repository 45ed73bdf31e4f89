"""Training schemes, one a file, each known by its name: how networks learn where the task's own phases are not enough.

To add one, put a file with a subclass of ``labelwise.contracts.scheme.Scheme`` here.
"""

from __future__ import annotations

from labelwise.contracts.scheme import Scheme
from labelwise.registry import Registry

SCHEMES: Registry[Scheme] = Registry("training scheme", "labelwise.schemes", Scheme)  # type: ignore[type-abstract]
