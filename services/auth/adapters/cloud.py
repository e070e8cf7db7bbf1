"""Asks the node's controller who the bearer of one of its tokens is, in the HTTP form of Paradrop 0.13."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from services.auth.domain.cloud import CloudUser
from services.common.errors import FailedPrecondition, Unauthenticated, Unavailable
from services.common.identity import Role

FILE = "controller.json"
USER_AGENT = "ParaDrop/2.5"
TIMEOUT_S = 10.0
AT_ONCE = 2
"""Everybody may send a token, and each costs the controller two requests."""


class HttpCloud:
    """`services.auth.domain.cloud.Cloud`: the controller that the node service has published."""

    def __init__(self, public_dir: Path) -> None:
        self._file = public_dir / FILE
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def user(self, token: str) -> CloudUser:
        """Returns who has the token; raises Unauthenticated if the controller does not know it."""
        async with self._limit:
            return await asyncio.to_thread(self._ask, token)

    def _ask(self, token: str) -> CloudUser:
        base, pdid = self._controller()
        user = _get(f"{base}/api/users/me", token)
        node = _get(f"{base}/api/routers/{quote(pdid, safe='')}", token)
        email, user_id = user.get("email"), user.get("_id")
        if not isinstance(email, str) or not email:
            raise _unknown()
        rights = node.get("access_rights")
        roles = [Role.GUEST]
        for right in rights if isinstance(rights, list) else ():
            if isinstance(right, dict) and user_id is not None and right.get("user_id") == user_id:
                with suppress(KeyError):
                    roles.append(Role[str(right.get("role")).upper()])
        return CloudUser(email, max(roles), urlsplit(base).hostname or base)

    def _controller(self) -> tuple[str, str]:
        try:
            document = json.loads(self._file.read_bytes())
            return str(document["pdserver"]).rstrip("/"), str(document["pdid"])
        except (OSError, ValueError, KeyError, TypeError):
            raise FailedPrecondition(
                "This node belongs to no controller that users log in with.", reason="NOT_PROVISIONED"
            ) from None


def _get(url: str, token: str) -> dict[str, Any]:
    import requests

    headers = {"authorization": f"Bearer {token}", "accept": "application/json", "user-agent": USER_AGENT}
    try:
        with requests.get(url, headers=headers, timeout=TIMEOUT_S, allow_redirects=False) as answer:
            if answer.status_code >= 500:
                raise requests.ConnectionError(str(answer.status_code))
            document = answer.json() if answer.status_code // 100 == 2 else None
    except ValueError:
        document = None
    except requests.RequestException:
        raise Unavailable(
            "The controller does not answer; try again later, or log in with a local user.",
            reason="CONTROLLER_UNREACHABLE",
        ) from None
    if not isinstance(document, dict) or not document:
        raise _unknown()
    return document


def _unknown() -> Unauthenticated:
    return Unauthenticated("The controller does not accept this token.", reason="CLOUD_TOKEN_REFUSED")
