"""Serving the page: on this machine alone unless somebody asks for more, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from labelwise.errors import ConfigError, StateError, UnmetNeed

#: where the page is looked for where nobody says where
PORT = 8421


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str, port: int) -> list[str]:
    """``name:port`` under which a page at this address is reached."""
    if is_loopback(host):
        names = ["127.0.0.1", "localhost", "[::1]"]
    elif host in ("0.0.0.0", "::"):
        names = ["127.0.0.1", "localhost", socket.gethostname(), *_addresses()]
    else:
        names = [f"[{host}]" if ":" in host else host]
    return [f"{name.lower()}:{port}" for name in dict.fromkeys(names)]


def _addresses() -> list[str]:
    """Of this machine, as far as it knows them."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return []
    return [f"[{one[4][0]}]" if one[0] == socket.AF_INET6 else str(one[4][0]) for one in found]


def bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens; where nobody says which port, the usual one, or any that is free.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = [PORT, 0] if port is None else [port]
    for number in tried:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, number))
        except (OSError, OverflowError) as error:
            made.close()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if number == tried[-1]:
                raise ConfigError(f"cannot serve at {host}:{number}: {reason}. Give another --host or --port") from None
        else:
            made.listen(128)
            return made
    raise AssertionError("unreachable")


def serve(
    folder: Path,
    listening: socket.socket,
    hosts: list[str],
    token: str,
    *,
    ready: Callable[[], None] = lambda: None,
    log: Callable[[str], None] = lambda text: None,
) -> None:
    """Serves the page of a project, or of a study, until it is interrupted.

    Args:
        folder: of the project, or the file of a study.
        listening: where.
        hosts: names under which it is reached.
        token: that opens it.
        ready: called before the first request is answered.
        log: told of errors that are ours, whole.

    Raises:
        UnmetNeed: the packages of the extra are not installed.
        StateError: no project or study there, or the page was not built.
    """
    try:
        import uvicorn

        from labelwise.serve.answering import STATIC
        from labelwise.serve.app import make_app
        from labelwise.serve.study import make_study_app
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise UnmetNeed("the page needs fastapi and uvicorn: pip install 'labelwise[ui]'") from None
    if not (STATIC / "index.html").is_file():
        raise StateError("this copy of labelwise holds no built page: run 'npm ci && npm run build' in web/")
    app = (make_study_app if folder.is_file() else make_app)(folder, token, hosts, log)
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, date_header=False)
    ready()
    uvicorn.Server(config).run(sockets=[listening])
