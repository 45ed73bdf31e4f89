"""What has to be refused, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labelwise.errors import LabelwiseError


def refusal(call: Callable[[], Any], what: str) -> str:
    """The message with which a call is refused: an error of labelwise, in one line.

    Raises:
        AssertionError: it was not refused, or in more than a line.
    """
    message = None
    try:
        call()
    except LabelwiseError as error:
        message = str(error)
    assert message is not None, f"{what} was taken"
    assert message.strip(), f"{what} was refused without a word"
    assert "\n" not in message, f"{what} was refused in more than a line: {message!r:.200}"
    return message
