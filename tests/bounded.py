"""What code costs in a process of its own: memory above the start and processor time, for readers of bad input.

In a test::

    cost = bounded.call("labelwise.data.images:decode", str(path))
    assert cost.error == "DataError"                       # the class of labelwise.errors; "" when it returned
    assert "too large" in cost.text                        # the message, or the repr of what came back

    costs = bounded.calls("labelwise.data.images:decode", [(str(one),), (str(two),)])   # one start, several calls

    costs = bounded.readings("labelwise.formats.yolo:Yolo", "data", [path])  # the text says how many records, objects

    cost = bounded.command("init", folder, "-p", project)  # the command line
    assert cost.error == "1"                               # its exit code; "" for 0
    assert "too large" in cost.text                        # all that it printed

Each checks its bounds itself: 1,000 MB above the start, ten seconds of processor time, no exception but the package's
own, one line of at most 300 characters. A process that outgrows twice the bounds is ended at once, so that a bomb
harms nobody else. The peak is the kernel's high-water mark of the process, which can be set back,
unlike ``ru_maxrss``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import forked

#: bounds of the house: megabytes above the start, seconds of processor time, characters of a message
MEGABYTES, SECONDS, CHARACTERS = 1000, 10.0, 300


@dataclass(frozen=True)
class Cost:
    """What one call took.

    Args:
        error: name of the exception's class, or a command's exit code; "" where all went well.
        text: the message, the repr of the result, or what a command printed.
        megabytes: peak of memory above the start.
        seconds: processor time.
    """

    error: str
    text: str
    megabytes: float
    seconds: float


def call(function: str, *arguments: Any, megabytes: float = MEGABYTES, seconds: float = SECONDS) -> Cost:
    """``module:name`` called with arguments that JSON can hold, in a process of its own; a last mapping names some."""
    return calls(function, [arguments], megabytes=megabytes, seconds=seconds)[0]


def calls(
    function: str, arguments: Sequence[Sequence[Any]], *, megabytes: float = MEGABYTES, seconds: float = SECONDS
) -> list[Cost]:
    """As :func:`call`, several calls one after the other in one process, each measured by itself."""
    order = {"function": function, "arguments": [list(each) for each in arguments]}
    costs = _run(order, megabytes, seconds * len(arguments))
    for cost in costs:
        _check(cost, megabytes, seconds)
        if cost.error:
            assert len(cost.text) <= CHARACTERS, f"{len(cost.text)} characters: {cost.text}"
            assert "\n" not in cost.text, cost.text
    return costs


def readings(
    form: str, use: str, paths: Sequence[os.PathLike[str]], *, megabytes: float = MEGABYTES, seconds: float = SECONDS
) -> list[Cost]:
    """As :func:`calls`, of a format, as ``module:Class``, that reads each path to the end; pixels are painted too."""
    arguments = [[form, use, os.fspath(path)] for path in paths]
    return calls("bounded:_read", arguments, megabytes=megabytes, seconds=seconds)


def command(*arguments: object, megabytes: float = MEGABYTES, seconds: float = SECONDS) -> Cost:
    """``labelwise ARGUMENTS`` in a process of its own; refusals are one line on standard error, without a traceback."""
    cost = _run({"command": [str(argument) for argument in arguments]}, megabytes, seconds)[0]
    _check(cost, megabytes, seconds)
    assert "Traceback" not in cost.text, cost.text
    assert "bug in labelwise" not in cost.text, cost.text
    for line in cost.text.splitlines():
        assert not line.startswith("error: ") or len(line) <= CHARACTERS + len("error: "), line
    return cost


def _check(cost: Cost, megabytes: float, seconds: float) -> None:
    assert cost.megabytes <= megabytes, f"{cost.megabytes:.0f} MB above the start: {cost.text[:500]}"
    assert cost.seconds <= seconds, f"{cost.seconds:.1f} seconds: {cost.text[:500]}"


def _run(order: dict[str, Any], megabytes: float, seconds: float) -> list[Cost]:
    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder) / "order.json", Path(folder) / "result.jsonl"
        asked.write_text(json.dumps(order), encoding="utf-8")
        # others may use the machine, so by the clock it may take longer than the processor time it is allowed
        within = (2 * megabytes + 250, 6 * seconds + 60)
        done = forked.python(__file__, asked, result, within=within, merged=True)
        printed = done.stdout
        if done.returncode in (forked.TOO_MUCH, forked.TOO_LATE):
            much = done.returncode == forked.TOO_MUCH
            what = f"more than {within[0]:.0f} MB of memory" if much else f"more than {within[1]:.0f} seconds"
            raise AssertionError(f"ended: {what}; it had printed {printed[-500:]!r}")
        found = (
            [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()] if result.exists() else []
        )
        assert found or done.returncode == 0, f"it died ({done.returncode}): {printed[-2000:]}"
    costs = [Cost(**each) for each in found]
    if "command" in order:
        costs = [Cost(cost.error, printed, cost.megabytes, cost.seconds) for cost in costs]
    assert len(costs) == len(order.get("arguments", [()])), f"it died ({done.returncode}): {printed[-2000:]}"
    return costs


# ---- the other side: this file run as a program ----------------------------------------------------------------------


def _peak() -> float:
    """Megabytes: the most this process ever held."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1) / 1e6


def _forget_peak() -> None:
    """Sets the high-water mark to what is held now, once what earlier calls left behind has gone back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc keeps what was freed, and has this
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _measured(run: Any) -> dict[str, Any]:
    from labelwise.errors import LabelwiseError

    _forget_peak()
    before, began = _peak(), time.process_time()
    returned = None
    try:
        returned = run()
        found = {"error": ""}
    except LabelwiseError as error:
        found = {"error": type(error).__name__, "text": str(error)}
    except SystemExit as end:
        found = {"error": str(end.code or ""), "text": ""}
    cost = {"megabytes": _peak() - before, "seconds": time.process_time() - began}
    return {"text": repr(returned)[:1000], **found, **cost}


def _read(form: str, use: str, path: str) -> tuple[int, int]:
    from labelwise.contracts.format import Hints
    from labelwise.registry import import_object

    records = objects = 0
    for record in import_object(form)().read(Path(path), use, Hints())[1]:
        records, objects = records + 1, objects + len(record.objects)
        for mask in (record.pixels, *(seen.outline for seen in record.objects)):
            if mask is not None and hasattr(mask, "read"):
                mask.read()
    return records, objects


def _import_everything() -> None:
    """What a command imports counts as the start: registries import all that is registered when they are asked."""
    for module in ("labelwise.project.setup", "labelwise.assemble", "labelwise.exchange.sniffing"):
        importlib.import_module(module)
    for registry in ("strategies:STRATEGIES", "tasks:TASKS"):
        module, name = registry.split(":")
        getattr(importlib.import_module(f"labelwise.{module}"), name).names()


def _main(asked: str, result: str) -> None:
    order = json.loads(Path(asked).read_text(encoding="utf-8"))
    with open(result, "w", encoding="utf-8", buffering=1) as out:  # noqa: PTH123
        if "command" in order:
            from labelwise import __main__

            _import_everything()
            sys.argv = ["labelwise", *order["command"]]
            out.write(json.dumps(_measured(__main__.main)) + "\n")
        else:
            module, name = order["function"].split(":")
            if module == "bounded":
                function = _read
                importlib.import_module(order["arguments"][0][0].split(":")[0])
            else:
                function = getattr(importlib.import_module(module), name)
            for arguments in order["arguments"]:
                named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
                out.write(json.dumps(_measured(partial(function, *arguments, **named))) + "\n")


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    _main(*sys.argv[1:])
