"""Who gets in, how, and as whom."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.common.errors import ResourceExhausted, Unauthenticated
from tests.gateway.conftest import Gateway, basic
from tests.gateway.doubles import USER

pytestmark = pytest.mark.gateway

LIST = "/api/v1/chutes/"
CHALLENGE = 'Basic realm="Login Required"'


def test_a_good_token_costs_no_question(gateway: Gateway) -> None:
    assert gateway.request("GET", LIST).status == 200
    assert not gateway.doubles.checks


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_a_scheme_in_other_letters_is_the_auth_services_business(gateway: Gateway, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {gateway.token}"}

    assert gateway.request("GET", LIST, None, headers, token=False).status == 200
    assert len(gateway.doubles.checks) == 1


def test_basic_becomes_a_token(gateway: Gateway) -> None:
    assert gateway.request("GET", LIST, None, basic(), token=False).status == 200

    authorization = gateway.doubles.last.metadata["authorization"]
    assert authorization.startswith("Bearer ")
    claims = authorization.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == USER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Bearer",
        "Bearer None",
        "Bearer a.b.c",
        "Basic !!!",
        basic(password="wrong")["authorization"],
        basic(user="")["authorization"],
        "Digest x",
        "Bearer " + "x" * 10_000,
    ],
)
@pytest.mark.parametrize("path", [LIST, "/", "/reference", "/static/portal.css"])
def test_others_are_challenged(gateway: Gateway, header: str | None, path: str) -> None:
    headers = {} if header is None else {"authorization": header}

    answer = gateway.request("GET", path, None, headers, token=False)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == 16
    assert not gateway.doubles.calls


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1_000_000_000}, {"gen": 7}, {"sub": "nobody"}, {"sub": "web", "kind": "chute"}],
    ids=str,
)
def test_a_token_that_ended_or_was_never_good_is_challenged(gateway: Gateway, claims: dict[str, Any]) -> None:
    token = gateway.doubles.keys.token(**claims)

    answer = gateway.request("GET", LIST, None, {"authorization": f"Bearer {token}"}, token=False)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert not gateway.doubles.calls


def test_a_token_signed_by_somebody_else_is_challenged(gateway: Gateway) -> None:
    token = gateway.doubles.keys.token(key=Ed25519PrivateKey.generate())

    answer = gateway.request("GET", LIST, None, {"authorization": f"Bearer {token}"}, token=False)

    assert answer.status == 401


def test_a_token_without_a_signature_is_challenged(gateway: Gateway) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"test"}').rstrip(b"=").decode()
    token = f"{header}.{gateway.token.split('.')[1]}."

    assert gateway.request("GET", LIST, None, {"authorization": f"Bearer {token}"}, token=False).status == 401


def test_a_token_in_the_query_is_no_token(gateway: Gateway) -> None:
    assert gateway.request("GET", f"{LIST}?access_token={gateway.token}", token=False).status == 401


def test_a_role_that_is_too_low_is_forbidden(gateway: Gateway) -> None:
    token = gateway.doubles.keys.token(sub="guest", role="owner")

    answer = gateway.request("GET", LIST, None, {"authorization": f"Bearer {token}"}, token=False)

    assert (answer.status, answer.reason) == (403, "ROLE_TOO_LOW")


def test_forged_identities_are_taken_off(gateway: Gateway) -> None:
    forged = {
        "x-paradrop-user": "paradrop",
        "X-Paradrop-Role": "owner",
        "x-forwarded-user": "paradrop",
        "x-remote-user": "paradrop",
        "x-jwt-payload": "e30",
        "x-auth-request-user": "paradrop",
        "x_paradrop_user": "paradrop",
    }
    claimed = {"x-envoy-original-path": "/elsewhere", "x-forwarded-for": "6.6.6.6"}

    gateway.request("GET", LIST, None, forged | claimed)

    metadata = gateway.doubles.last.metadata
    assert not set(map(str.lower, forged)) & metadata.keys()
    assert metadata["x-envoy-original-path"] == LIST.rstrip("/")
    # What the client claims stays visible, but not as the last one.
    assert metadata["x-forwarded-for"].startswith("6.6.6.6,")


def test_a_second_authorization_header_wins_nothing(gateway: Gateway) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(gateway.address, timeout=10)
    connection.putrequest("GET", LIST)
    connection.putheader("authorization", "Bearer nonsense")
    connection.putheader("authorization", f"Bearer {gateway.token}")
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()

    assert status == 401
    assert not gateway.doubles.calls


class TestLogin:
    def test_a_refused_login_has_the_documented_form(self, gateway: Gateway) -> None:
        gateway.doubles.replies["paradrop.auth.v1.AuthService.LoginLocal"] = Unauthenticated(
            "Wrong user or password.", reason="LOGIN_FAILED"
        )

        answer = gateway.send_json(
            "POST", "/api/v1/auth/local", {"username": "al", "password": "x"}, token=False
        )

        assert answer.status == 401
        assert "www-authenticate" not in answer.headers
        assert (answer.json["username"], answer.json["success"]) == ("al", False)
        assert answer.reason == "LOGIN_FAILED"
        assert answer.headers["content-length"] == str(len(answer.body))

    @pytest.mark.parametrize("body", [{}, {"password": '"username":"al"'}, {"username": 'a"l'}])
    def test_without_a_plain_name_the_default_one_is_meant(self, gateway: Gateway, body: Any) -> None:
        gateway.doubles.replies["paradrop.auth.v1.AuthService.LoginLocal"] = Unauthenticated("x")

        assert gateway.send_json("POST", "/api/v1/auth/local", body, token=False).json["username"] == USER

    def test_bad_credentials_on_a_login_do_not_matter(self, gateway: Gateway) -> None:
        headers = {"authorization": "Bearer None"}

        answer = gateway.request("POST", "/api/v1/auth/local", "{}", headers, token=False)

        assert answer.status == 200
        assert not gateway.doubles.checks

    def test_too_many_logins_are_told_to_wait(self, gateway: Gateway) -> None:
        gateway.doubles.replies["paradrop.auth.v1.AuthService.LoginLocal"] = ResourceExhausted(
            "x", reason="LOGIN_THROTTLED", retry_after_s=12
        )

        answer = gateway.request("POST", "/api/v1/auth/local", "{}", token=False)

        assert (answer.status, answer.reason) == (429, "LOGIN_THROTTLED")
        assert answer.headers["retry-after"] == "12"
