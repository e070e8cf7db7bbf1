"""Envoy's external authorisation, asked the way Envoy asks."""

import asyncio
import base64
import json
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from paradrop.auth.v1 import auth_pb2 as pb
from paradrop.vendor.envoy.config.core.v3.base_pb2 import HeaderValueOption
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2 as envoy_pb

from services.auth.domain.throttle import PER_USER_AND_ADDRESS
from services.common.channels import service_metadata
from services.common.identity import Principal, Role, TokenVerifier
from tests.support.auth import Service, reason_of
from tests.support.settings import PASSWORD

CHALLENGE = 'Basic realm="Login Required"'
DRAIN = {"drain": "true"}


def basic(username: str = "paradrop", password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def headers_of(options: Any) -> dict[str, str]:
    for option in options:
        assert option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return {option.header.key: option.header.value for option in options}


def token_of(reply: envoy_pb.CheckResponse) -> str:
    assert reply.status.code == code_pb2.OK
    assert list(reply.ok_response.headers_to_remove) == []
    headers = headers_of(reply.ok_response.headers)
    assert headers.keys() == {"authorization"}
    scheme, token = headers["authorization"].split(" ")
    assert scheme == "Bearer"
    return token


def denied(reply: envoy_pb.CheckResponse) -> tuple[int, str]:
    """Checks the shape of a refusal and returns HTTP status and reason."""
    assert reply.WhichOneof("http_response") == "denied_response"
    assert reply.status.code != code_pb2.OK
    answer = reply.denied_response
    headers = headers_of(answer.headers)
    assert headers["content-type"] == "application/json"
    assert (headers.get("www-authenticate") == CHALLENGE) is (answer.status.code == 401)
    body = json.loads(answer.body)
    assert body["code"] == reply.status.code
    assert body["message"] == reply.status.message
    info = body["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "paradrop"
    assert isinstance(info["metadata"], dict)
    return answer.status.code, info["reason"]


@pytest.fixture
def verifier(service: Service) -> TokenVerifier:
    return TokenVerifier(service.settings.public_dir)


@pytest.mark.parametrize(
    "header",
    [
        basic(),
        basic().replace("Basic", "basic"),
        basic().replace("Basic", "BASIC"),
        f"Basic paradrop:{PASSWORD}",
        f"basic paradrop:{PASSWORD}",
    ],
)
async def test_basic_becomes_a_short_token_of_the_user(
    service: Service, verifier: TokenVerifier, header: str
) -> None:
    assert ":" in PASSWORD
    token = token_of(await service.check(header))
    assert await asyncio.to_thread(verifier.verify, token) == Principal("paradrop", Role.ADMIN)


async def test_a_chutes_token_becomes_one_of_the_chute(service: Service, verifier: TokenVerifier) -> None:
    services = await asyncio.to_thread(service_metadata, service.settings.service_token_file)
    issued = await service.auth.IssueChuteToken(pb.IssueChuteTokenRequest(chute="web"), metadata=services)
    token = token_of(await service.check(f"bearer {issued.token}"))
    assert await asyncio.to_thread(verifier.verify, token) == Principal("web", Role.USER, kind="chute")


async def test_a_jwt_goes_on_as_it_is(service: Service) -> None:
    ((_, header),) = await service.login()
    assert f"Bearer {token_of(await service.check(header))}" == header


async def test_the_same_token_serves_many_requests(service: Service) -> None:
    replies = [await service.check(basic()) for _ in range(3)]
    assert len({token_of(reply) for reply in replies}) == 1


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "CREDENTIALS_MISSING"),
        ("", "CREDENTIALS_MISSING"),
        ("Basic", "CREDENTIALS_MALFORMED"),
        ("Bearer", "CREDENTIALS_MALFORMED"),
        ("Digest x", "CREDENTIALS_MALFORMED"),
        ("Basic !!!", "CREDENTIALS_MALFORMED"),
        ("Basic " + "x" * 20000, "CREDENTIALS_MALFORMED"),
        ("Bearer " + "x" * 20000, "CREDENTIALS_MALFORMED"),
        (basic(password=""), "LOGIN_FAILED"),
        (basic(password="wrong password"), "LOGIN_FAILED"),
        (basic("nobody"), "LOGIN_FAILED"),
        (basic("", PASSWORD), "LOGIN_FAILED"),
        ("Basic paradrop:wrong password", "LOGIN_FAILED"),
        ("Bearer None", "TOKEN_INVALID"),
        ("Bearer " + "0" * 32, "TOKEN_INVALID"),
        ("Bearer a.b.c", "TOKEN_INVALID"),
    ],
)
async def test_everything_else_gets_the_challenge(service: Service, header: str | None, reason: str) -> None:
    assert denied(await service.check(header)) == (401, reason)


async def test_a_throttled_client_is_told_when_to_come_back(service: Service) -> None:
    for number in range(PER_USER_AND_ADDRESS.free + 1):
        assert denied(await service.check(basic(password=f"guess number {number}"))) == (401, "LOGIN_FAILED")
    reply = await service.check(basic())
    assert denied(reply) == (429, "LOGIN_THROTTLED")
    assert headers_of(reply.denied_response.headers)["retry-after"] == "1"
    # From elsewhere, and there with any port or path, the owner gets in.
    token_of(await service.check(basic(), address="192.0.2.2"))


async def test_logins_and_basic_headers_are_throttled_together(service: Service) -> None:
    for number in range(PER_USER_AND_ADDRESS.free + 1):
        await service.check(basic(password=f"guess number {number}"), address="192.0.2.1")
    with pytest.raises(Exception, match="Too many wrong passwords"):
        await service.login(address="192.0.2.1")


@pytest.mark.parametrize("header", [None, "Basic !!!", basic(password="wrong password"), "Bearer None"])
async def test_an_upload_is_refused_by_its_service_once_it_has_read_the_body(
    service: Service, header: str | None
) -> None:
    reply = await service.check(header, extensions=DRAIN)
    assert reply.status.code == code_pb2.OK
    assert list(reply.ok_response.headers_to_remove) == ["authorization"]
    assert len(reply.ok_response.headers) == 0


async def test_an_upload_with_good_credentials_goes_on_with_a_token(service: Service) -> None:
    token_of(await service.check(basic(), extensions=DRAIN))


@pytest.mark.parametrize("extensions", [{"drain": "false"}, {"drain": ""}, {"other": "true"}])
async def test_other_routes_are_refused_at_once(service: Service, extensions: dict[str, str]) -> None:
    assert denied(await service.check(None, extensions=extensions)) == (401, "CREDENTIALS_MISSING")


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
async def test_a_grpc_client_gets_a_status_with_details(service: Service, content_type: str) -> None:
    reply = await service.check(None, headers={"content-type": content_type})
    headers = headers_of(reply.denied_response.headers)
    assert headers["grpc-status"] == "16"
    encoded = headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert (status.code, reason_of(status)) == (16, "CREDENTIALS_MISSING")
    assert reply.denied_response.body == status.message


async def test_a_changed_password_ends_basic_at_once(service: Service) -> None:
    token_of(await service.check(basic()))
    changed = pb.ChangePasswordRequest(password="a new password")
    await service.auth.ChangePassword(changed, metadata=await service.login())
    assert denied(await service.check(basic())) == (401, "LOGIN_FAILED")
    token_of(await service.check(basic(password="a new password")))


async def test_a_changed_password_ends_the_tokens_that_were_minted(service: Service) -> None:
    token = token_of(await service.check(basic()))
    changed = pb.ChangePasswordRequest(password="a new password")
    await service.auth.ChangePassword(changed, metadata=await service.login())
    verifier = TokenVerifier(service.settings.public_dir)
    with pytest.raises(Exception, match="ended"):
        await asyncio.to_thread(verifier.verify, token)


async def test_basic_is_written_down_once_and_not_for_every_request(service: Service) -> None:
    for _ in range(3):
        await service.check(basic(), address="192.0.2.1")
    await service.check(basic(), address="192.0.2.2")
    admin = await service.login()
    logins = (await service.auth.ListLogins(pb.ListLoginsRequest(), metadata=admin)).logins
    assert [login.address for login in logins] == ["", "192.0.2.2", "192.0.2.1"]


async def test_sixty_four_connections_at_once_cost_one_hash(service: Service) -> None:
    replies = await asyncio.gather(*(service.check(basic()) for _ in range(64)))
    assert len({token_of(reply) for reply in replies}) == 1
