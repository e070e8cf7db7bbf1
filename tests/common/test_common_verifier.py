"""Verification with nothing but the two published files."""

import json
import os
import time
from pathlib import Path

import pytest

from services.common import identity
from services.common.errors import Unauthenticated, Unavailable
from services.common.identity import Principal, Role, TokenVerifier
from tests.support.publisher import Publisher


@pytest.fixture
def verifier(publisher: Publisher) -> TokenVerifier:
    return TokenVerifier(publisher.public_dir)


def reason_of(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        verifier.verify(token)
    return raised.value.reason


def let_time_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = time.monotonic() + seconds
    monkeypatch.setattr(identity.time, "monotonic", lambda: later)


@pytest.mark.parametrize("name", ["guest", "user", "trusted", "admin", "owner"])
def test_a_user_is_who_the_token_says(verifier: TokenVerifier, publisher: Publisher, name: str) -> None:
    assert verifier.verify(publisher.token(name)) == Principal(name, Role[name.upper()])


def test_a_chute_is_a_chute_and_no_user(verifier: TokenVerifier, publisher: Publisher) -> None:
    assert verifier.verify(publisher.token("web")) == Principal("web", Role.USER, kind="chute")


def test_kinds_have_names_of_their_own(verifier: TokenVerifier, publisher: Publisher) -> None:
    assert reason_of(verifier, publisher.token("web", kind="user")) == "TOKEN_REVOKED"
    assert reason_of(verifier, publisher.token("owner", kind="chute")) == "TOKEN_REVOKED"
    assert reason_of(verifier, publisher.token("owner", kind="emperor")) == "TOKEN_REVOKED"


@pytest.mark.parametrize("generation", [0, 2, -1])
def test_another_generation_has_ended(verifier: TokenVerifier, publisher: Publisher, generation: int) -> None:
    assert reason_of(verifier, publisher.token(gen=generation)) == "TOKEN_REVOKED"


def test_a_token_ends_when_the_generation_grows(
    verifier: TokenVerifier, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = publisher.token()
    verifier.verify(token)
    publisher.principals["users"]["user"]["generation"] = 2
    publisher.publish()
    let_time_pass(monkeypatch, identity.PUBLICATION_CHECK_INTERVAL_S)
    assert reason_of(verifier, token) == "TOKEN_REVOKED"


def test_a_token_ends_when_its_user_goes(
    verifier: TokenVerifier, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = publisher.token()
    verifier.verify(token)
    del publisher.principals["users"]["user"]
    publisher.publish()
    let_time_pass(monkeypatch, identity.PUBLICATION_CHECK_INTERVAL_S)
    assert reason_of(verifier, token) == "TOKEN_REVOKED"


def test_tokens_end_within_five_seconds() -> None:
    assert identity.PUBLICATION_CHECK_INTERVAL_S < 5


def test_a_token_of_a_moment_ago_passes_at_once(verifier: TokenVerifier, publisher: Publisher) -> None:
    verifier.verify(publisher.token())
    publisher.principals["users"]["user"]["generation"] = 2
    publisher.publish()
    assert verifier.verify(publisher.token(gen=2)).name == "user"


def test_two_changes_in_one_tick_of_the_clock_are_both_seen(
    verifier: TokenVerifier, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = publisher.token()
    verifier.verify(token)
    times = publisher.principals_file.stat()
    publisher.principals["users"]["user"]["generation"] = 2
    publisher.publish()
    os.utime(publisher.principals_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    let_time_pass(monkeypatch, identity.PUBLICATION_CHECK_INTERVAL_S)
    assert reason_of(verifier, token) == "TOKEN_REVOKED"


def test_the_published_role_counts(verifier: TokenVerifier, publisher: Publisher) -> None:
    assert verifier.verify(publisher.token("guest", role="owner")).role is Role.GUEST


def test_a_token_expires_while_it_is_remembered(
    verifier: TokenVerifier, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = publisher.token(exp=int(time.time()) + 100)
    verifier.verify(token)
    later = time.time() + 100
    monkeypatch.setattr(identity.time, "time", lambda: later)
    assert reason_of(verifier, token) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("claim", ["sub", "exp", "iat"])
def test_a_token_without_a_claim_is_invalid(
    verifier: TokenVerifier, publisher: Publisher, claim: str
) -> None:
    assert reason_of(verifier, publisher.token(**{claim: None})) == "TOKEN_INVALID"


@pytest.mark.parametrize("changes", [{"role": "emperor"}, {"gen": "many"}, {"sub": 7}, {"exp": "soon"}])
def test_a_token_with_a_strange_claim_is_invalid(
    verifier: TokenVerifier, publisher: Publisher, changes: dict[str, object]
) -> None:
    assert reason_of(verifier, publisher.token(**changes)) == "TOKEN_INVALID"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "e30.e30.", "é.é.é", "\0", "x" * 8000])
def test_what_is_no_token_is_invalid(verifier: TokenVerifier, token: str) -> None:
    assert reason_of(verifier, token) == "TOKEN_INVALID"


def test_the_algorithm_none_is_invalid(verifier: TokenVerifier, publisher: Publisher) -> None:
    import jwt

    claims = {"sub": "owner", "iat": 1, "exp": 2**40, "kind": "user", "gen": 1}
    forged = jwt.encode(claims, None, algorithm="none", headers={"kid": "first"})
    assert reason_of(verifier, forged) == "TOKEN_INVALID"


def test_the_public_key_as_a_shared_secret_is_invalid(verifier: TokenVerifier, publisher: Publisher) -> None:
    import jwt

    secret = json.loads(publisher.jwks_file.read_text())["keys"][0]["x"]
    claims = {"sub": "owner", "iat": 1, "exp": 2**40, "kind": "user", "gen": 1}
    forged = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "first"})
    assert reason_of(verifier, forged) == "TOKEN_INVALID"


def test_an_unknown_key_is_invalid(verifier: TokenVerifier, publisher: Publisher) -> None:
    assert reason_of(verifier, publisher.token(kid="second")) == "TOKEN_INVALID"


def test_a_replaced_key_is_read(verifier: TokenVerifier, publisher: Publisher) -> None:
    verifier.verify(publisher.token())
    publisher.publish_key("second")
    assert verifier.verify(publisher.token(kid="second")).name == "user"
    assert reason_of(verifier, publisher.token(kid="first")) == "TOKEN_INVALID"


@pytest.mark.parametrize("missing", ["jwks.json", "principals.json"])
def test_without_a_file_nothing_can_be_verified(
    verifier: TokenVerifier, publisher: Publisher, missing: str
) -> None:
    (publisher.public_dir / missing).unlink()
    with pytest.raises(Unavailable) as raised:
        verifier.verify(publisher.token())
    assert raised.value.reason == "AUTH_KEYS_MISSING"
    publisher.publish_key("first")
    publisher.publish()
    assert verifier.verify(publisher.token()).name == "user"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": [{}]}', '{"keys": [{"kid": "first"}]}', "{"])
def test_with_a_broken_file_nothing_can_be_verified(
    verifier: TokenVerifier, publisher: Publisher, content: str
) -> None:
    publisher.jwks_file.write_text(content)
    with pytest.raises(Unavailable):
        verifier.verify(publisher.token())


def test_a_user_of_another_domain_is_no_local_one(verifier: TokenVerifier, publisher: Publisher) -> None:
    token = publisher.token("a@example.org", domain="paradrop.org", role="trusted")
    assert verifier.verify(token) == Principal("a@example.org", Role.TRUSTED, "paradrop.org")


def test_only_so_many_tokens_are_remembered(
    verifier: TokenVerifier, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(identity, "CACHED_TOKENS", 2)
    for number in range(5):
        verifier.verify(publisher.token(jti=str(number)))
    assert len(verifier._seen) == 2
