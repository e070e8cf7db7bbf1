"""Where the files of chutes are fetched from: what is allowed, before anybody is asked for anything."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from services.chutes.domain.spec import Credentials, Download, DownloadType
from services.common.errors import InvalidArgument

DEFAULT_CHECKOUT = "master"
"""Of repositories on github.com, as ever; of others it is the repository's own default."""

_GITHUB = re.compile(r"/([A-Za-z0-9_.-]{1,100})/([A-Za-z0-9_.-]{1,100}?)(?:\.git)?/?")


def read_download(document: Mapping[str, Any]) -> Download | None:
    """Returns where a description that fits the schema says the files are, or raises InvalidArgument."""
    config = document.get("config") or {}
    field = "download" if document.get("download") else "config.download"
    given = document.get("download") or config.get("download")
    if not given:
        return None
    url = given["url"]
    check_url(url, f"{field}.url")
    user, secret = given.get("user"), given.get("secret")
    kind: DownloadType = given.get("type") or ("git" if urlsplit(url).path.endswith(".git") else "http")
    checkout = given.get("checkout")
    tarball = _github_tarball(url, checkout or DEFAULT_CHECKOUT)
    if tarball is not None:
        url, kind, checkout = tarball, "http", None
    elif kind == "http" and checkout is not None:
        raise InvalidArgument(
            f"{field}.checkout is for repositories; set {field}.type to git, or leave it out.",
            reason="DOWNLOAD_INVALID",
            field=f"{field}.checkout",
        )
    credentials = Credentials(user or "", secret or "") if user or secret else None
    return Download(url, kind, checkout, credentials)


def check_url(url: str, field: str) -> None:
    """Raises InvalidArgument unless a URL is one that the node fetches from. It is never shown again."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("is not a URL", "DOWNLOAD_INVALID", field) from None
    if parts.scheme == "ssh" or re.match(r"[\w.-]+@[\w.-]+:", url):
        raise _refused(
            "needs an SSH key, and this node has none; use the https address of the repository",
            "DOWNLOAD_SCHEME_NOT_ALLOWED",
            field,
        )
    if parts.scheme != "https":
        raise _refused("must begin with https://", "DOWNLOAD_SCHEME_NOT_ALLOWED", field)
    if parts.username is not None or parts.password is not None:
        raise _refused(
            "must not hold a user or a password; give them as user and secret", "DOWNLOAD_INVALID", field
        )
    if not parts.hostname or port == 0:
        raise _refused("names no host", "DOWNLOAD_INVALID", field)


def _github_tarball(url: str, checkout: str) -> str | None:
    parts = urlsplit(url)
    match = _GITHUB.fullmatch(parts.path)
    if parts.hostname not in ("github.com", "www.github.com") or match is None:
        return None
    return f"https://github.com/{match[1]}/{match[2]}/tarball/{checkout}"


def _refused(what: str, reason: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"{field} {what}.", reason=reason, field=field)
