"""Keys, tokens, and what auth publishes about them."""

import asyncio
import json
import os
import re
import stat
from hashlib import sha256
from pathlib import Path

import jwt
import pytest

from services.auth.adapters.bootstrap import ALPHABET, bootstrap_password
from services.auth.adapters.keys import SigningKey
from services.auth.adapters.publication import Publication
from services.auth.adapters.service_token import RENEW_AFTER_S, keeping_service_token
from services.auth.domain.tokens import INTERNAL_TOKEN_LIFE_S, USER_TOKEN_LIFE_S
from services.common.errors import Unauthenticated
from services.common.files import StateError
from services.common.identity import SYSTEM, Principal, Role, TokenVerifier
from services.common.settings import SettingError
from tests.support.auth import Clock, Domain

ADMIN = Principal("paradrop", Role.ADMIN)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestKey:
    def test_it_is_made_once_and_private(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        made, again = SigningKey.open(path), SigningKey.open(path)
        assert mode(path) == 0o600
        assert made.jwks() == again.jwks()

    def test_two_nodes_have_two_keys(self, tmp_path: Path) -> None:
        assert SigningKey.open(tmp_path / "a").jwks() != SigningKey.open(tmp_path / "b").jwks()

    def test_the_public_half_has_the_form_that_envoy_reads(self, tmp_path: Path) -> None:
        (key,) = SigningKey.open(tmp_path / "key.pem").jwks()["keys"]
        assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{key["x"]}"}}'
        assert jwt.utils.base64url_decode(key["kid"]) == sha256(canonical.encode()).digest()

    def test_another_key_in_the_file_is_refused(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        pem = generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        for content in (pem, b"\xff nothing", b""):
            (tmp_path / "key.pem").write_bytes(content)
            with pytest.raises(StateError, match=r"key\.pem holds no Ed25519 key"):
                SigningKey.open(tmp_path / "key.pem")


class TestMint:
    async def test_a_users_token_says_what_the_contract_says(self, domain: Domain) -> None:
        user = domain.directory.user("paradrop")
        assert user
        token = domain.mint.user_token(user)
        claims = jwt.decode(token, options={"verify_signature": False})
        now = int(domain.wall_clock())
        assert claims == {
            "iss": "paradrop",
            "sub": "paradrop",
            "iat": now,
            "exp": now + USER_TOKEN_LIFE_S,
            "role": "admin",
            "domain": "localhost",
            "kind": "user",
            "gen": user.generation,
        }
        header = jwt.get_unverified_header(token)
        assert (header["alg"], bool(header["kid"])) == ("EdDSA", True)
        assert USER_TOKEN_LIFE_S == 30 * 86400
        assert domain.verifier.verify(token) == ADMIN

    async def test_an_internal_token_is_reused_and_renewed_long_before_it_expires(
        self, domain: Domain
    ) -> None:
        user = domain.directory.user("paradrop")
        assert user
        first = domain.mint.internal_token(ADMIN, user.generation)
        domain.wall_clock.advance(INTERNAL_TOKEN_LIFE_S / 2 - 1)
        assert domain.mint.internal_token(ADMIN, user.generation) == first
        domain.wall_clock.advance(1)
        second = domain.mint.internal_token(ADMIN, user.generation)
        assert second != first
        claims = jwt.decode(second, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == INTERNAL_TOKEN_LIFE_S

    async def test_an_internal_token_follows_generation_role_and_clock(self, domain: Domain) -> None:
        tokens = {domain.mint.internal_token(ADMIN, 1), domain.mint.internal_token(ADMIN, 2)}
        tokens.add(domain.mint.internal_token(Principal("paradrop", Role.USER), 2))
        tokens.add(domain.mint.internal_token(Principal("paradrop", Role.USER, kind="chute"), 2))
        domain.wall_clock.advance(-3600)
        tokens.add(domain.mint.internal_token(Principal("paradrop", Role.USER), 2))
        assert len(tokens) == 5


class TestServiceToken:
    async def test_it_is_there_at_once_private_and_good(self, domain: Domain, tmp_path: Path) -> None:
        path = tmp_path / "service.jwt"
        async with keeping_service_token(
            path, lambda: domain.mint.service_token(domain.directory.service_generation), domain.wall_clock
        ):
            text = await asyncio.to_thread(path.read_text)
            assert await asyncio.to_thread(mode, path) == 0o600
        assert domain.verifier.verify(text) == SYSTEM

    @pytest.mark.parametrize("jump_s", [RENEW_AFTER_S, 50 * 365 * 86400.0, -60.0])
    async def test_it_is_renewed_when_time_passes_or_jumps(self, tmp_path: Path, jump_s: float) -> None:
        clock = Clock(1_000_000.0)
        signed: list[float] = []
        renewed = asyncio.Event()

        def sign() -> str:
            signed.append(clock())
            if len(signed) > 1:
                renewed.set()
            return f"token of {clock()}"

        async with keeping_service_token(tmp_path / "token", sign, clock, check_interval_s=0.001):
            assert len(signed) == 1
            clock.advance(jump_s)
            async with asyncio.timeout(10):
                await renewed.wait()
        assert signed == [1_000_000.0, 1_000_000.0 + jump_s]

    async def test_the_next_start_ends_it(self, domain: Domain) -> None:
        old = domain.mint.service_token(domain.directory.service_generation)
        domain.verifier.verify(old)
        await domain.directory.load()
        new = domain.mint.service_token(domain.directory.service_generation)
        assert domain.verifier.verify(new) == SYSTEM
        with pytest.raises(Unauthenticated, match="ended"):
            domain.verifier.verify(old)


class TestChuteTokens:
    async def test_one_is_128_random_bits_and_stored_as_a_hash_only(
        self, domain: Domain, tmp_path: Path
    ) -> None:
        token = await domain.chute_tokens.issue("web")
        assert re.fullmatch("[0-9a-f]{32}", token)
        for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir())):
            assert token.encode() not in await asyncio.to_thread(path.read_bytes)

    async def test_a_new_one_ends_the_former(self, domain: Domain) -> None:
        former = await domain.chute_tokens.issue("web")
        token = await domain.chute_tokens.issue("web")
        assert domain.directory.chute_of(former) is None
        assert domain.directory.chute_of(token).chute == "web"

    async def test_taking_an_issue_back_makes_the_former_good_again(self, domain: Domain) -> None:
        former = await domain.chute_tokens.issue("web")
        tokens = [await domain.chute_tokens.issue("web", former) for _ in range(2)]
        for _ in range(2):
            await domain.chute_tokens.restore("web", former)
            assert domain.directory.chute_of(former).chute == "web"
            assert [domain.directory.chute_of(token) for token in tokens] == [None, None]

    async def test_a_token_that_was_ended_does_not_come_back(self, domain: Domain) -> None:
        former = await domain.chute_tokens.issue("web")
        await domain.chute_tokens.revoke("web")
        token = await domain.chute_tokens.issue("web", former)
        await domain.chute_tokens.restore("web", former)
        assert domain.directory.chute_of(former) is None
        assert domain.directory.chute_of(token) is None
        await domain.chute_tokens.restore("web", former)
        assert domain.directory.chute_of(former) is None

    async def test_a_token_of_another_chute_does_not_come_back_as_ones_own(self, domain: Domain) -> None:
        stolen = await domain.chute_tokens.issue("shop")
        await domain.chute_tokens.issue("web")
        await domain.chute_tokens.issue("web", stolen)
        await domain.chute_tokens.restore("web", stolen)
        assert domain.directory.chute_of(stolen).chute == "shop"

    async def test_revoking_ends_it_and_what_was_minted_for_it(self, domain: Domain, tmp_path: Path) -> None:
        def verify(token: str) -> Principal:
            # A new one each time: one that has just looked may believe what it saw for another second.
            return TokenVerifier(tmp_path).verify(token)

        token = await domain.chute_tokens.issue("web")
        minted = await domain.gatekeeper.admit(f"Bearer {token}", "")
        assert await asyncio.to_thread(verify, minted) == Principal("web", Role.USER, kind="chute")
        await domain.chute_tokens.revoke("web")
        await domain.chute_tokens.revoke("web")
        with pytest.raises(Unauthenticated):
            await domain.gatekeeper.admit(f"Bearer {token}", "")
        with pytest.raises(Unauthenticated):
            await asyncio.to_thread(verify, minted)
        # A chute of the same name that comes later does not bring it back.
        await domain.chute_tokens.issue("web")
        with pytest.raises(Unauthenticated):
            await asyncio.to_thread(verify, minted)

    async def test_a_chute_can_have_the_name_of_a_user(self, domain: Domain) -> None:
        token = await domain.chute_tokens.issue("paradrop")
        minted = await domain.gatekeeper.admit(f"Bearer {token}", "")
        assert domain.verifier.verify(minted) == Principal("paradrop", Role.USER, kind="chute")

    @pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
    async def test_a_bad_name_is_refused(self, domain: Domain, name: str) -> None:
        with pytest.raises(Exception, match="Name the chute"):
            await domain.chute_tokens.issue(name)
        with pytest.raises(Exception, match="Name the chute"):
            await domain.chute_tokens.revoke(name)


class TestPublication:
    async def test_everybody_may_read_it_and_it_is_written_only_when_it_changes(self, tmp_path: Path) -> None:
        def inode() -> tuple[int, int]:
            status = (tmp_path / "principals.json").stat()
            return status.st_ino, status.st_mtime_ns

        publication = Publication(tmp_path)
        await publication.publish({"users": {"a": 1, "b": 2}})
        before = await asyncio.to_thread(inode)
        await publication.publish({"users": {"b": 2, "a": 1}})
        assert await asyncio.to_thread(inode) == before
        await publication.publish({"users": {"a": 1}})
        assert await asyncio.to_thread(inode) != before
        assert await asyncio.to_thread(mode, tmp_path / "principals.json") == 0o644

    async def test_it_names_everybody_and_nothing_secret(self, domain: Domain, tmp_path: Path) -> None:
        await domain.users.add(ADMIN, "ann", "password of ann", Role.TRUSTED)
        await domain.chute_tokens.issue("web")
        published = json.loads(await asyncio.to_thread((tmp_path / "principals.json").read_text))
        roles = {
            kind: {name: entry["role"] for name, entry in entries.items()}
            for kind, entries in published.items()
        }
        assert roles == {
            "users": {"paradrop": "admin", "ann": "trusted"},
            "chutes": {"web": "user"},
            "services": {"__paradrop__": "owner"},
        }
        for entries in published.values():
            for entry in entries.values():
                assert entry.keys() == {"generation", "role"}


class TestBootstrapPassword:
    def test_a_given_one_is_taken_and_not_stored(self, tmp_path: Path) -> None:
        assert bootstrap_password("a given password", tmp_path / "file") == "a given password"
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("given", ["", "short", "x" * 1025])
    def test_a_bad_one_is_refused_by_the_name_of_its_setting(self, tmp_path: Path, given: str) -> None:
        with pytest.raises(SettingError, match="PARADROP_ADMIN_PASSWORD"):
            bootstrap_password(given, tmp_path / "file")

    def test_a_generated_one_is_strong_readable_and_private(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        password = bootstrap_password(None, path)
        assert len(password) >= 20
        assert not set(password) & set("0O1lIoi")
        assert set(password) <= set(ALPHABET)
        assert path.read_text() == f"{password}\n"
        assert mode(path) == 0o600

    def test_no_two_are_the_same(self, tmp_path: Path) -> None:
        assert len({bootstrap_password(None, tmp_path / str(n)) for n in range(50)}) == 50

    def test_one_of_a_start_that_was_cut_short_is_kept(self, tmp_path: Path) -> None:
        password = bootstrap_password(None, tmp_path / "file")
        assert bootstrap_password(None, tmp_path / "file") == password

    def test_an_empty_file_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert len(bootstrap_password(None, tmp_path / "file")) >= 20
