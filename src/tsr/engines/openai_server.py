"""Talking to an OpenAI-compatible server: the client, its retries, and what went wrong in words."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tsr.engines.base import EngineError

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI

T = TypeVar("T")
CONNECT_S = 10.0
# An answer that is not one (a proxy's page during a restart) is asked for again this often.
GARBAGE_RETRIES = 2
GARBAGE_WAIT_S = 1.0
PASSING = (408, 409, 429)
GOES_ON = "When the server is well again, the same command goes on from the last block"


class Declined(EngineError):
    """The server said no: `status` is HTTP's, `said` is its own message."""

    def __init__(self, text: str, status: int, said: str) -> None:
        super().__init__(text)
        self.status, self.said = status, said


@dataclass(frozen=True)
class Server:
    """Where the server is and how long it is waited for.

    After 408, 409, 429, 5xx, timeouts and lost connections the client asks again, `retries` times:
    0.5 to 8 seconds later, or when the server says (Retry-After, at most 2 minutes).
    """

    url: str
    key_env: str
    timeout_s: float
    retries: int

    @classmethod
    def at(cls, url: str, key_env: str, timeout_s: float, retries: int) -> "Server":
        """The server at `url`; an address without a path gets the usual /v1."""
        if {"@", "?"} & set(url):
            # Not quoted: what is in there may be a secret.
            raise EngineError(
                f"engine.server.url holds a user or a query: put the key in ${key_env}"
            )
        form = re.fullmatch(r"(https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?)(/[^\s#]*)?", url)
        if not form:
            raise EngineError(
                f"engine.server.url={url!r}: an address like http://host:8000/v1 is wanted"
            )
        path = (form[4] or "").rstrip("/") or "/v1"
        return cls(form[1] + path, key_env, timeout_s, retries)

    def client(self) -> "AsyncOpenAI":
        """A client, to be closed; it reads the key from the environment."""
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout
        except ImportError as error:
            raise EngineError("engine=openai needs openai: pip install 'tsr[openai]'") from error
        return AsyncOpenAI(
            api_key=_key(self.key_env),
            base_url=self.url,
            timeout=Timeout(self.timeout_s, connect=min(CONNECT_S, self.timeout_s)),
            max_retries=self.retries,
            # A proxy cannot reach this machine's own loopback address.
            http_client=DefaultAsyncHttpxClient(trust_env=not _is_loopback(self.url)),
        )

    async def get(self, client: "AsyncOpenAI", path: str, read: Callable[[Any], T]) -> T:
        """What `read` makes of the JSON at `path`."""
        return await self._read(client, read, "GET", path)

    async def post(
        self, client: "AsyncOpenAI", path: str, body: Mapping[str, Any], read: Callable[[Any], T]
    ) -> T:
        """What `read` makes of the JSON that `body` is answered with."""
        return await self._read(client, read, "POST", path, body)

    async def text(
        self,
        client: "AsyncOpenAI",
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> str:
        """The answer's text; Declined or EngineError where there is none."""
        from openai import APIError

        try:
            if method == "GET":
                return await client.get(path, cast_to=str)
            return await client.post(path, cast_to=str, body=body)
        except APIError as error:
            failure = self._failure(error, client.api_key)
        # Not chained: the client's error holds the request, and with it the key.
        raise failure

    async def _read(
        self,
        client: "AsyncOpenAI",
        read: Callable[[Any], T],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        for attempt in range(min(self.retries, GARBAGE_RETRIES) + 1):
            await asyncio.sleep(GARBAGE_WAIT_S * attempt)
            text = await self.text(client, method, path, body)
            try:
                return read(json.loads(text))
            # Whatever a reply in another form trips over; EngineError is none of these.
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
                continue
        said = _short(text, client.api_key, 200)
        raise EngineError(
            f"{self.url}{path} answered garbage {attempt + 1} times, last {said!r}. Is "
            f"engine.server.url an OpenAI-compatible server? {GOES_ON}"
        )

    def _failure(self, error: "APIError", key: str) -> EngineError:
        from openai import APIStatusError, APITimeoutError

        if isinstance(error, APIStatusError):
            return self._declined(error, key)
        if isinstance(error, APITimeoutError):
            what = f"no answer within {self.timeout_s:g} s (engine.server.timeout_s)"
        else:
            # Some of these errors have no text.
            cause = error.__cause__ or error
            what = f"cannot be reached ({type(cause).__name__}: {_short(str(cause), key)})"
        return EngineError(
            f"{self.url}: {what}, tried {self.retries + 1} times. Is the server up, and "
            f"engine.server.url right?{_proxy_hint(self.url)} {GOES_ON}"
        )

    def _declined(self, error: "APIStatusError", key: str) -> Declined:
        status, said = error.status_code, _short(_message(error.body), key)
        if status in (401, 403):
            # What a server says to a wrong key often quotes a part of it.
            said = "" if status == 401 else said
            advice = f"The key is read from the environment variable {self.key_env}: is it right?"
        elif status in PASSING or status >= 500:
            advice = f"Asked up to {self.retries + 1} times. {GOES_ON}"
        else:
            advice = "Was the server started anew? Then run the same command." * (status == 404)
        told = f": {said}" if said else ""
        name = f" (request {error.request_id})" if error.request_id else ""
        text = f"{self.url} answered HTTP {status}{name}{told}. {advice}"
        return Declined(text.rstrip(), status, said)


def _key(name: str) -> str:
    """The key, or a word for servers that need none."""
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        # Checked here because the HTTP library would quote it in its error and its log.
        raise EngineError(f"the environment variable {name} does not hold a key")
    return key or "none"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy_hint(url: str) -> str:
    """A cluster's proxy seldom reaches the cluster's own nodes: say that it was asked."""
    parts = urlsplit(url)
    proxies, host = getproxies(), parts.hostname or ""
    if _is_loopback(url) or not {parts.scheme, "all"} & set(proxies) or proxy_bypass(host):
        return ""
    return f" The environment's proxy was used: a server inside needs {host} in NO_PROXY."


def _message(body: object) -> str:
    """The server's own words, from whichever form of error it sends."""
    for name in ("error", "message", "detail"):
        if isinstance(body, Mapping) and name in body:
            body = body[name]
    return body if isinstance(body, str) else json.dumps(body)


def _short(text: str, key: str, most: int = 500) -> str:
    """The beginning, without the key, should a server repeat it."""
    text = text.replace(key, "***") if key != "none" else text
    return " ".join(text[:most].split())
