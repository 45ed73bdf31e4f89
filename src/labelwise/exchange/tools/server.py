"""JSON over HTTP with a server of others: asked again where that is harmless, and every failure is one line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labelwise.errors import ConfigError, ToolError, cut

if TYPE_CHECKING:
    import httpx2

#: seconds before each further try
WAITS = (0.5, 2.0, 5.0)
#: answers after which a server may do better later
_LATER = frozenset({429, 500, 502, 503, 504})


class Refused(ToolError):
    """The server answered, and refused.

    Args:
        status: of the answer.
        message: one line.
        detail: what the server says is wrong.
    """

    def __init__(self, status: int, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class Upload:
    """Files on their way, as a browser sends them.

    Args:
        files: name of the field, and name and content of the file.
        form: fields beside them.
        headers: sent with this request alone.
    """

    files: Sequence[tuple[str, tuple[str, bytes]]] = ()
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


class Server:
    """One server, for one user.

    Args:
        url: of it.
        headers: that say who asks.
        verify: whether its certificate is checked.
        timeout: seconds that it may be silent.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, verify: bool = True, timeout: float = 60.0) -> None:
        try:
            import httpx2
        except ImportError:
            raise ConfigError(
                "talking to the servers of annotation tools needs the package httpx2: pip install 'labelwise[tools]'"
            ) from None
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r:.100} is no address of a server: give one that begins with http:// or https://")
        if "@" in urlsplit(url).netloc:
            raise ConfigError(
                "the address of the server holds a name or password, which would be written down: leave it out"
            )
        self.url, self._http = url.rstrip("/"), httpx2
        self._client = httpx2.Client(base_url=self.url, headers=dict(headers), verify=verify, timeout=timeout)

    def header(self, name: str, value: str) -> None:
        """Sends this with everything from now on."""
        self._client.headers[name] = value

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str | int]] = (),
        json: Any = None,
        upload: Upload | None = None,
        again: bool | None = None,
    ) -> Any:
        """What the server answers: JSON, or bytes where it is none.

        Args:
            method: GET, POST, ...
            path: below the address of the server.
            query: names and values, in order.
            json: sent along.
            upload: sent along in its place.
            again: whether it may be asked more than once; None: what changes nothing, and what sets one value.

        Raises:
            Refused: it answered with an error.
            ToolError: it did not answer.
        """
        sent = upload or Upload()
        again = method in ("GET", "PATCH", "DELETE") if again is None else again
        for wait in (*(WAITS if again else ()), None):
            try:
                answer = self._client.request(
                    method,
                    path,
                    params=list(query) or None,  # an empty list would take those of an address away
                    json=json,
                    files=list(sent.files) or None,
                    data=sent.form,
                    headers=sent.headers,
                    follow_redirects=True,
                )
            except self._http.ConnectError as error:
                failure: ToolError = ToolError(
                    f"no server answers at {self.url}: {cut(str(error), 100)}. Is it running, and is this its address?"
                )
            except self._http.TimeoutException:
                failure = ToolError(
                    f"{self.url} did not answer {method} {cut(path)} in time: try again when it is idle"
                )
            except self._http.HTTPError as error:
                failure = ToolError(f"{self.url} broke off {method} {cut(path)}: {cut(str(error), 100)}. Try again")
            else:
                if answer.status_code < 400:
                    return _content(answer)
                failure = self._refused(answer, method, path)
                if answer.status_code not in _LATER:
                    raise failure
            if wait is None:
                raise failure
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _refused(self, answer: httpx2.Response, method: str, path: str) -> Refused:
        status, detail = answer.status_code, _detail(answer)
        if status == 401:
            said = f"{self.url} does not know this token ({detail}): take the one that your account page there shows"
        elif status == 403:
            said = f"{self.url} does not allow {method} {cut(path)} to this user: {detail}"
        else:
            said = f"{self.url} answers {method} {cut(path)} with {status}: {detail}"
        return Refused(status, said, detail)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


def _content(answer: httpx2.Response) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        return answer.content
    return answer.json() if answer.content else None


def _detail(answer: httpx2.Response) -> str:
    """What the server says is wrong, short."""
    try:
        said = answer.json()
    except ValueError:
        return cut(answer.text.strip().splitlines()[0] if answer.text.strip() else answer.reason_phrase, 120)
    if isinstance(said, dict):
        said = said.get("validation_errors") or said.get("detail") or said
    return cut(str(said), 160)
