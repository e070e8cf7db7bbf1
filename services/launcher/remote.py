"""A node as its users see it over HTTP, for the command line."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter

from services.common.files import sync_dir
from services.common.settings import SettingError, load_settings
from services.launcher.health import gateway_url

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 120.0
CHUNK_BYTES = 256 * 1024
ARCHIVE = "application/gzip"


class RemoteError(Exception):
    """A node cannot be reached or says no; the message is one line and says what to do."""


class Node:
    """One node, logged in to. All methods block and raise `RemoteError`."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._session = requests.Session()
        self._trusted: dict[str, Any] = {}
        if not url:
            url = self._local_url()
        self._url = f"{url.rstrip('/')}/api/v1"
        answer = self._request("POST", "/auth/local", json={"username": user, "password": password})
        self._session.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def export(self, chute: str, target: Path, pause: bool) -> int:
        """Writes the archive of a chute into a new file and returns its size in bytes."""
        if target.exists():
            raise RemoteError(f"{target} exists already; choose another name.")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        parameters = {"pause": "true"} if pause else {}
        try:
            answer = self._request(
                "GET", f"/chutes/{quote(chute, safe='')}/export", params=parameters, stream=True
            )
            with answer, _told(self._url), _private(temporary) as file:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        except OSError as error:
            raise RemoteError(f"{target} cannot be written: {error.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)
        sync_dir(target.absolute().parent)
        return target.stat().st_size

    def import_(self, source: Path, **terms: str | bool) -> Mapping[str, Any]:
        """Sends an archive and returns the answer."""
        given = {name: "true" if value is True else str(value) for name, value in terms.items() if value}
        with source.open("rb") as file:
            answer = self._request(
                "POST", "/chutes/import", data=file, params=given, headers={"Content-Type": ARCHIVE}
            )
        document: Mapping[str, Any] = answer.json()
        return document

    def follow(self, change_id: int) -> Iterator[str]:
        """Yields the messages of a change; at its end raises why it failed, if it did."""
        answer = self._request("GET", f"/changes/{change_id}/watch", stream=True)
        ended: Mapping[str, Any] = {}
        with answer, _told(self._url):
            for line in answer.iter_lines():
                event = json.loads(line) if line else {}
                if "progress" in event:
                    yield event["progress"]["message"]
                ended = event.get("ended", ended)
        if not ended:
            raise RemoteError(f"The node went away; ask it for the end of change {change_id}.")
        if ended["status"] != "succeeded":
            raise RemoteError(f"{ended['failure']['reason']}: {ended['failure']['message']}")

    def _local_url(self) -> str:
        """Returns where the node of this machine listens; its certificate may be for any name."""
        try:
            settings = load_settings()
        except SettingError as error:
            raise RemoteError(str(error)) from None
        if settings.tls_cert is not None:
            self._session.mount("https://", _OwnCertificate())
            # Said with each request: what the environment names would go before what the session does.
            self._trusted = {"verify": str(settings.tls_cert)}
        return gateway_url(settings)

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        with _told(self._url):
            answer = self._session.request(
                method,
                self._url + path,
                timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S),
                **self._trusted,
                **options,
            )
        if answer.status_code != requests.codes.ok:
            raise RemoteError(_refusal(answer))
        return answer


class _OwnCertificate(HTTPAdapter):
    """Connects to whoever has a certificate that is trusted: it is for the names that others use."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, assert_hostname=False)


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        # Its own words go down to addresses in memory.
        what = (
            "broke off" if isinstance(error, requests.exceptions.ChunkedEncodingError) else "does not answer"
        )
        raise RemoteError(f"The node at {url} {what}; see that it runs, and try again.") from None


def _refusal(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"What answers at {answer.url} with status {answer.status_code} is no node."


@contextmanager
def _private(path: Path) -> Iterator[Any]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
