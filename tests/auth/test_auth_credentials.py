"""Authorization headers as clients really send them."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.credentials import Basic, OpaqueToken, SignedToken, parse_authorization
from services.common.errors import Unauthenticated


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def reason_of(header: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        parse_authorization(header)
    return raised.value.reason


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Basic {encoded('paradrop:secret')}", Basic("paradrop", "secret")),
        (f"basic {encoded('paradrop:secret')}", Basic("paradrop", "secret")),
        (f"BASIC   {encoded('paradrop:secret')} ", Basic("paradrop", "secret")),
        (f"Basic {encoded('paradrop:a:b::c')}", Basic("paradrop", "a:b::c")),
        (f"Basic {encoded('paradrop:')}", Basic("paradrop", "")),
        (f"Basic {encoded('paradrop')}", Basic("paradrop", "")),
        (f"Basic {encoded(':secret')}", Basic("", "secret")),
        (f"Basic {encoded('ann:pässwörd€')}", Basic("ann", "pässwörd€")),
        (f"Basic {encoded('paradrop:secret!').rstrip('=')}", Basic("paradrop", "secret!")),
        ("Basic paradrop:secret", Basic("paradrop", "secret")),
        ("basic paradrop:a:b c", Basic("paradrop", "a:b c")),
        ("Bearer 0123456789abcdef0123456789abcdef", OpaqueToken("0123456789abcdef0123456789abcdef")),
        ("bearer None", OpaqueToken("None")),
        ("Bearer a.b.c", SignedToken("a.b.c")),
        ("BEARER a.b.c", SignedToken("a.b.c")),
    ],
)
def test_understood(header: str, expected: object) -> None:
    assert parse_authorization(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Bearer",
        "Bearer  ",
        " ",
        "Digest username=paradrop",
        "paradrop:secret",
        "Basic !!!",
        "Basic a",
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        f"Basic {encoded('a:b')},Bearer a.b.c",
        "Bearer " + "x" * 8192,
        "Basic " + encoded("a:" + "x" * 8192),
    ],
)
def test_malformed(header: str) -> None:
    assert reason_of(header) == "CREDENTIALS_MALFORMED"


def test_missing() -> None:
    assert reason_of("") == "CREDENTIALS_MISSING"


@given(st.text())
def test_nothing_else_than_a_refusal_can_come_of_a_header(header: str) -> None:
    with contextlib.suppress(Unauthenticated):
        parse_authorization(header)


@given(
    st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=32),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)
def test_what_a_client_encodes_comes_out(username: str, password: str) -> None:
    assert parse_authorization(f"Basic {encoded(f'{username}:{password}')}") == Basic(username, password)
