"""Python in processes of their own that start at once: each is forked from one that has imported the libraries.

In a test::

    done = forked.python("-m", "labelwise", "list", cwd=tmp_path)   # as subprocess.run would
    both = forked.together([["a.py", "0"], ["a.py", "1"]], environments=[{"RANK": "0"}, {"RANK": "1"}])

What starts is a process with its own memory, working directory, environment and ``sys.path``, and ``labelwise`` is
imported in it anew; only torch and its like are there already, which cost each process some seconds. Where the
start itself is tested, a real start is needed: ``subprocess``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: what takes long to import, and knows nothing of labelwise
LIBRARIES = (
    "accelerate",
    "faiss",
    "faster_coco_eval",
    "jinja2",
    "matplotlib.figure",
    "numpy",
    "PIL.Image",
    "pydantic",
    "rich.console",
    "rich.progress",
    "rich.table",
    "safetensors.torch",
    "scipy.stats",
    "skimage.segmentation",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.linear_model",
    "sklearn.manifold",
    "sqlalchemy",
    "torch",
    "torchmetrics.functional.classification",
    "torchvision.transforms.v2",
    "typer",
    "typer.testing",
)

#: return codes of processes that were killed because they took more memory, or more time, than was allowed
TOO_MUCH, TOO_LATE = -1000, -1001

Done = subprocess.CompletedProcess[str]


def python(*arguments: object, cwd: object = None, environment: Mapping[str, str] | None = None, **how: Any) -> Done:
    """``python ARGUMENTS`` to its end: ``-c CODE``, ``-m MODULE``, or a file, and what it is given.

    Args:
        arguments: after an optional ``-W ignore``.
        cwd: where it runs; None: where the tests run.
        environment: variables over those of the tests.
        how: as :func:`together` has it.

    Returns:
        As ``subprocess.run`` does; the return code of a killed process is negative.
    """
    return together([arguments], cwd=cwd, environments=[environment or {}], **how)[0]


def together(
    commands: Sequence[Sequence[object]],
    *,
    cwd: object = None,
    environments: Sequence[Mapping[str, str]] = (),
    within: tuple[float, float] | None = None,
    merged: bool = False,
) -> list[Done]:
    """As :func:`python`, several at the same time.

    Args:
        commands: the arguments of each.
        cwd: where all run.
        environments: the variables of each.
        within: megabytes above the start and seconds by the clock; one that takes more is killed.
        merged: what is written to standard error is in the output.
    """
    lines = [[str(argument) for argument in command] for command in commands]
    with tempfile.TemporaryDirectory() as folder:
        names = ("out", "out" if merged else "err")
        files = [[str(Path(folder) / f"{number}.{name}") for name in names] for number in range(len(lines))]
        starts = [
            {"arguments": line, "cwd": str(cwd or Path.cwd()), "environment": {**os.environ, **more}, "files": both}
            for line, more, both in zip(lines, environments or [{}] * len(lines), files, strict=True)
        ]
        codes = _ask({"starts": starts, "within": within})
        return [
            subprocess.CompletedProcess(line, code, *(Path(file).read_text(encoding="utf-8") for file in both))
            for line, code, both in zip(lines, codes, files, strict=True)
        ]


def launched(*arguments: object, processes: int, environment: Mapping[str, str]) -> list[Done]:
    """As many processes of one group, by the variables that ``torchrun`` sets."""
    if processes == 1:
        return [python(*arguments, environment=environment)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)} for rank in range(processes)]
    return together([arguments] * processes, environments=[{**environment, **place, **rank} for rank in ranks])


@functools.cache
def _parent() -> subprocess.Popen[str]:
    """One for each process of the tests, from the first use to the end."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings
    )

    def end() -> None:
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]

    atexit.register(end)
    return process


def _ask(request: dict[str, Any]) -> list[int]:
    process = _parent()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process that forks has died"
    return json.loads(answer)


# ---- the other side: this file run as a program ----------------------------------------------------------------------


def _run(arguments: list[str]) -> None:
    """As ``python ARGUMENTS``."""
    if arguments[:2] == ["-W", "ignore"]:
        arguments = arguments[2:]
        importlib.import_module("warnings").simplefilter("ignore")
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


def _become(start: dict[str, Any]) -> None:
    """The forked process: never returns."""
    code = 1
    atexit._clear()
    try:
        for stream, file in zip((1, 2), start["files"], strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(start["cwd"])
        os.environ.clear()
        os.environ.update(start["environment"])
        sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
        sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
        try:
            _run(start["arguments"])
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _megabytes(process: int) -> float:
    """What a process holds; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    return 0.0


def _ended(child: int, within: list[float] | None) -> int:
    """The exit code; negative where a signal ended it, ours too."""
    if within is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    most, end = _megabytes(child) + within[0], time.monotonic() + within[1]
    while True:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        much, late = _megabytes(child) > most, time.monotonic() > end
        if much or late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TOO_MUCH if much else TOO_LATE
        time.sleep(0.01)


def _serve() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    gc.freeze()  # what is there now is nobody's garbage: collections in what is forked need not look at it
    # the folder of this file is on the path because it was started: what starts here has its own
    sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for start in request["starts"]:
            child = os.fork()
            if not child:
                _become(start)
            children.append(child)
        codes = [_ended(child, request["within"]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    _serve()
