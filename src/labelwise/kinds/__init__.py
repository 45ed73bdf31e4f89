"""Kinds of label: classes of pictures, boxes, masks, key points. A file put here is a kind, known by its ``name``."""

from __future__ import annotations

from labelwise.contracts.kind import Kind
from labelwise.registry import Registry

KINDS: Registry[Kind] = Registry("kind of label", "labelwise.kinds", Kind)  # type: ignore[type-abstract]
