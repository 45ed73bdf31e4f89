"""Tools in which people label, as servers, one file each. A file put here that holds a ``Tool`` is a tool."""

from __future__ import annotations

from labelwise.contracts.tool import Tool
from labelwise.registry import Registry

TOOLS: Registry[Tool] = Registry("tool", "labelwise.exchange.tools", Tool)  # type: ignore[type-abstract]
