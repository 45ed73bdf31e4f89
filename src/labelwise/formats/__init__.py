"""File formats, one file each. A file put here that holds a ``Format`` is asked whenever something is read."""

from __future__ import annotations

from labelwise.contracts.format import Format
from labelwise.registry import Registry

FORMATS: Registry[Format] = Registry("format", "labelwise.formats", Format)  # type: ignore[type-abstract]
