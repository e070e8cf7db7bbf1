"""Logins with tokens of a controller, which runs on a real socket and knows who they belong to."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.auth.adapters.cloud import FILE, HttpCloud
from services.auth.adapters.keys import SigningKey
from services.auth.domain.cloud import CloudLogin
from services.auth.domain.tokens import TokenMint
from services.common.errors import DomainError
from services.common.identity import Role, TokenVerifier
from tests.fakes.cloud import Cloud, running_cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        cloud.users = {"ada-token": {"_id": "u1", "email": "ada@example.org"}}
        roles = [("u1", "user"), ("u1", "admin"), ("u2", "owner")]
        cloud.rights = [{"user_id": user, "role": role} for user, role in roles]
        yield cloud


@pytest.fixture
def public(tmp_path: Path, cloud: Cloud) -> Path:
    (tmp_path / FILE).write_text(json.dumps({"pdid": "r1", "pdserver": cloud.address}))
    (tmp_path / "principals.json").write_text(json.dumps({"users": {}, "chutes": {}, "services": {}}))
    return tmp_path


@pytest.fixture
def login(public: Path) -> CloudLogin:
    key = SigningKey.open(public / "key.pem")
    (public / "jwks.json").write_text(json.dumps(key.jwks()))
    return CloudLogin(HttpCloud(public), TokenMint(key, time.time))


async def reason(login: CloudLogin, token: str) -> tuple[str, str]:
    with pytest.raises(DomainError) as raised:
        await login.login(token)
    return raised.value.code, raised.value.reason


async def test_a_user_of_the_controller_gets_the_highest_role_it_has_here(
    login: CloudLogin, public: Path
) -> None:
    user, token = await login.login("ada-token")
    assert (user.email, user.role) == ("ada@example.org", Role.ADMIN)
    principal = TokenVerifier(public).verify(token)
    assert (principal.name, principal.role, principal.domain) == ("ada@example.org", Role.ADMIN, "127.0.0.1")


async def test_a_user_without_rights_here_is_a_guest(login: CloudLogin, cloud: Cloud) -> None:
    cloud.rights = [{"user_id": "u1", "role": "emperor"}, "nonsense", {"role": "owner"}]
    assert (await login.login("ada-token"))[0].role is Role.GUEST


@pytest.mark.parametrize("token", ["", "wrong", "a b\n", "x" * 9000, "ä"])
async def test_other_tokens_are_refused(login: CloudLogin, token: str) -> None:
    assert await reason(login, token) == ("UNAUTHENTICATED", "CLOUD_TOKEN_REFUSED")


async def test_a_controller_that_is_down_lets_nobody_in(login: CloudLogin, cloud: Cloud) -> None:
    cloud.down = True
    assert await reason(login, "ada-token") == ("UNAVAILABLE", "CONTROLLER_UNREACHABLE")


async def test_without_a_controller_that_is_said(login: CloudLogin, public: Path) -> None:
    (public / FILE).unlink()
    assert await reason(login, "ada-token") == ("FAILED_PRECONDITION", "NOT_PROVISIONED")


async def test_what_a_controller_makes_up_is_refused(login: CloudLogin, cloud: Cloud) -> None:
    answers: list[Any] = [{}, {"email": 7}, {"email": ""}, []]
    for answer in answers:
        cloud.users = {"ada-token": answer}
        assert (await reason(login, "ada-token"))[0] == "UNAUTHENTICATED"
