"""A project on a server of others, whatever the tool: whether it is there, and which classes only one side has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from labelwise.errors import ToolError, few
from labelwise.exchange.tools.server import Refused


def project_there(ask: Callable[..., Any], path: str, url: str, number: int | None) -> Mapping[str, Any]:
    """A project as the server has it.

    Args:
        ask: the server, as ``Server.ask``.
        path: of the project on it.
        url: of the server, for messages.
        number: of the project, likewise.

    Raises:
        ToolError: it is not there, or the server fails.
    """
    try:
        found: Mapping[str, Any] = ask("GET", path)
    except Refused as error:
        if error.status != 404:
            raise
        raise ToolError(
            f"{url} has no project {number} that this user may see: it was deleted, or belongs to others. 'labelwise "
            "connect' makes or names another"
        ) from None
    return found


def only_there(classes: Sequence[str], offered: Collection[str], shown: str) -> list[str]:
    """That people can give classes which the project here does not have, in a line; [] where they cannot.

    Args:
        classes: of the project here.
        offered: on the server.
        shown: the project there, for the message.
    """
    if not (more := sorted(set(offered) - set(classes))):
        return []
    return [
        f"{len(more):,} class(es) that only {shown} has ({few(more)}): such answers are refused, unless "
        "'labelwise pull --add-classes' takes them into the project"
    ]
