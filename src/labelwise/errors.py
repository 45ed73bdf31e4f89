"""Every error labelwise raises on purpose.

LabelwiseError
├── ConfigError        an unknown name, key or value in a call, a flag or a YAML file
├── DataError          an image, array or label that cannot be used
│   └── FormatError    a file that breaks its format; names the file and the row
├── PoolError          an event that contradicts the pool (label for an unknown id, two roles, ...)
├── UnmetNeed          a strategy asks for a signal that task and learner cannot give
├── UndeclaredSignal   a strategy reads a signal that it did not declare
├── NonFiniteScore     a strategy returned NaN or infinity; names the items
├── StateError         the project on disk: locked, read-only, full, or written by a newer version
└── ToolError          a server on which people label: not there, or it refuses or fails

A message says what was got, what is allowed, and what to do, in one line: the command line prints it as it is.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: names that a message lists before it only counts them
SHOWN = 40
#: characters that such a list takes, and those of a name that is compared with others
LISTED, LONGEST = 150, 200


class LabelwiseError(Exception):
    """Base of all errors that labelwise raises on purpose."""


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end, as ``kill`` and the end of a job do."""


class ConfigError(LabelwiseError):
    """An unknown or impossible name, key, value or combination of them."""


class DataError(LabelwiseError):
    """An image, array or label that cannot be used."""


class NothingToAsk(LabelwiseError):
    """Of no image that is left anything can be read."""


class FormatError(DataError):
    """A file that breaks its format."""


class PoolError(LabelwiseError):
    """An event that contradicts the state of the pool."""


class UnmetNeed(LabelwiseError):
    """A strategy needs a signal that the task or learner in play does not provide."""


class UndeclaredSignal(LabelwiseError):
    """A strategy read a signal that its step did not declare."""


class NonFiniteScore(LabelwiseError):
    """A score is NaN or infinite."""


class StateError(LabelwiseError):
    """The project folder cannot be read or written as asked."""


class ToolError(LabelwiseError):
    """A server on which people label cannot be reached, or does not do what it is asked."""


def few(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, as a note can show them; the note itself says how many there are.

    Example:
        >>> few(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
        "'a.jpg', 'b.jpg', 'c.jpg', ..."
    """
    return ", ".join(f"{name!r:.60}" for name in names[:most]) + (", ..." if len(names) > most else "")


def brief(value: Any, most: int = 60) -> str:
    """Anything that somebody wrote, as a message can show it: its ``repr``, cut off after ``most`` characters.

    Example:
        >>> brief([1] * 1000, 10), brief("a")
        ('[1, 1, ...', "'a'")
    """
    if isinstance(value, (list, tuple)) and len(value) > most:
        value = value[:most]
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number of thousands of digits"
    return cut(text, most)


def cut(text: str, most: int = 60) -> str:
    """A text with three dots for what is beyond ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def unknown(
    kind: str, got: str, allowed: Iterable[str], *, error: type[LabelwiseError] = ConfigError
) -> LabelwiseError:
    """The error for a name that is not in a closed list: nearest names first, then the whole list.

    Example:
        >>> print(unknown("strategy", "margn", ["margin", "random"]))
        unknown strategy 'margn': did you mean 'margin'? Allowed: margin, random
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(got[:LONGEST], names, n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(brief(name, 40) for name in near)}?" if near else ""
    shown: list[str] = []
    for name in names[:SHOWN]:
        if shown and len(", ".join([*shown, cut(name)])) > LISTED:
            break
        shown.append(cut(name))
    more = f", and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return error(f"unknown {kind} {brief(got)}:{hint} Allowed: {', '.join(shown) or 'none'}{more}")


def visible(text: str) -> str:
    r"""A file name as it can be shown: control, direction and undecodable characters as escapes.

    Example:
        >>> print(visible("a\nb\u202e.png"), visible("日本 é.png"))
        a\nb\u202e.png 日本 é.png
    """
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else _escaped(c) for c in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def whose(code: object) -> str:
    """File and line where a function or a class begins; its name where nobody knows.

    Example:
        >>> whose(whose).rpartition(", line ")[0].endswith("errors.py")
        True
    """
    import inspect

    try:
        return f"{inspect.getsourcefile(code)}, line {inspect.getsourcelines(code)[1]}"  # type: ignore[arg-type]
    except (OSError, TypeError):
        return repr(code)


def code_of_ones_own(error: BaseException) -> str | None:
    """File and line of code outside labelwise and all that is installed in which an error arose; None elsewhere.

    It is the innermost such place on the way to the error: what such code calls in a library counts as its own, and so
    does what it calls in labelwise, for it is there that something can be mended.
    """
    import re
    import traceback

    if isinstance(error, SyntaxError) and error.filename is not None and _is_ones_own(error.filename):
        return f"{error.filename}, line {error.lineno}"
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # an error in another process brings its way along as text
    for text in (str(error), str(error.__cause__ or "")):
        frames += [
            (file, int(line)) for file, line in re.findall(r'^ *File "([^"\n]+)", line (\d+)', text, re.MULTILINE)
        ]
    for file, line in reversed(frames):
        if _is_ones_own(file):
            return f"{file}, line {line}"
    return None


def _is_ones_own(file: str) -> bool:
    """Whether a file is neither ours nor installed."""
    import sysconfig

    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = Path(__file__).resolve().parent
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in (ours, *installed))
