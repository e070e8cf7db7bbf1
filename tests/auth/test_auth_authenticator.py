"""Passwords are verified once, slowly, and never told apart from outside."""

import asyncio
import itertools

import pytest
import structlog

from services.auth.adapters import hasher, store
from services.auth.domain import authenticator
from services.auth.domain.authenticator import KNOWN_FOR_S, REFUSED_FOR_S
from services.auth.domain.model import MAX_PASSWORD_BYTES, Outcome
from services.auth.domain.throttle import PER_USER_AND_ADDRESS, LoginThrottled
from services.common.errors import ResourceExhausted, Unauthenticated
from services.common.identity import Principal, Role
from tests.support.auth import Domain
from tests.support.settings import PASSWORD

HERE, THERE = "192.0.2.1", "192.0.2.2"
ADMIN = Principal("paradrop", Role.ADMIN)


guesses = (f"wrong password {number}" for number in itertools.count())


async def fails(domain: Domain, password: str | None = None, username: str = "paradrop") -> str:
    """Tries a password, one that was not tried before if none is given, and returns why it is refused."""
    with pytest.raises(Unauthenticated) as raised:
        await domain.authenticator.verify(username, password or next(guesses), HERE)
    return raised.value.reason


async def test_the_right_password_names_the_user(domain: Domain) -> None:
    user = await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    assert (user.name, user.role) == ("paradrop", Role.ADMIN)


async def test_right_credentials_are_hashed_once_a_minute(domain: Domain) -> None:
    for _ in range(3):
        await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    assert domain.hasher.verified == 1
    domain.clock.advance(KNOWN_FOR_S)
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    assert domain.hasher.verified == 2


async def test_right_credentials_are_known_for_one_address_only(domain: Domain) -> None:
    for address in (HERE, THERE):
        await domain.authenticator.verify("paradrop", PASSWORD, address)
    assert domain.hasher.verified == 2


@pytest.mark.parametrize("username", ["paradrop", "nobody"])
async def test_who_repeats_a_wrong_password_is_refused_and_not_slowed_down(
    domain: Domain, username: str
) -> None:
    for _ in range(PER_USER_AND_ADDRESS.free * 10):
        assert await fails(domain, "my old password", username) == "LOGIN_FAILED"
    assert domain.hasher.verified == 1
    assert await domain.outcomes() == [Outcome.REFUSED]
    domain.clock.advance(REFUSED_FOR_S)
    await fails(domain, "my old password", username)
    assert domain.hasher.verified == 2


async def test_a_wrong_password_may_become_the_right_one(domain: Domain) -> None:
    assert await fails(domain, "a new password") == "LOGIN_FAILED"
    await domain.users.change_password(ADMIN, None, "a new password")
    await domain.authenticator.verify("paradrop", "a new password", HERE)
    assert await fails(domain, "password of ann", "ann") == "LOGIN_FAILED"
    await domain.users.add(ADMIN, "ann", "password of ann", Role.USER)
    await domain.authenticator.verify("ann", "password of ann", HERE)


async def test_a_changed_password_is_not_remembered(domain: Domain) -> None:
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    await domain.users.change_password(ADMIN, None, "a new password")
    assert await fails(domain, PASSWORD) == "LOGIN_FAILED"
    await domain.authenticator.verify("paradrop", "a new password", HERE)


async def test_a_removed_user_is_not_remembered(domain: Domain) -> None:
    await domain.users.add(ADMIN, "ann", "password of ann", Role.USER)
    await domain.authenticator.verify("ann", "password of ann", HERE)
    await domain.users.remove(ADMIN, "ann")
    assert await fails(domain, "password of ann", "ann") == "LOGIN_FAILED"
    await domain.users.add(ADMIN, "ann", "other password of ann", Role.USER)
    assert await fails(domain, "password of ann", "ann") == "LOGIN_FAILED"


async def test_a_change_while_the_hash_is_computed_counts(domain: Domain) -> None:
    domain.hasher.answers.clear()
    verifying = asyncio.create_task(domain.authenticator.verify("paradrop", PASSWORD, HERE))
    while not domain.hasher.verified:
        await asyncio.sleep(0)
    await domain.users.change_password(ADMIN, None, "a new password")
    domain.hasher.answers.set()
    with pytest.raises(Unauthenticated):
        await verifying
    assert await fails(domain, PASSWORD) == "LOGIN_FAILED"


async def test_the_same_credentials_at_once_are_one_attempt(domain: Domain) -> None:
    users = await asyncio.gather(
        *(domain.authenticator.verify("paradrop", PASSWORD, HERE) for _ in range(64))
    )
    assert {user.name for user in users} == {"paradrop"}
    assert domain.hasher.verified == 1


async def test_different_guesses_at_once_are_throttled(domain: Domain) -> None:
    results = await asyncio.gather(
        *(domain.authenticator.verify("paradrop", f"guess number {n}", HERE) for n in range(20)),
        return_exceptions=True,
    )
    assert domain.hasher.verified == PER_USER_AND_ADDRESS.free + 1
    assert sum(isinstance(result, LoginThrottled) for result in results) == 20 - domain.hasher.verified


async def test_a_caller_that_goes_away_does_not_stop_the_others(domain: Domain) -> None:
    first = asyncio.create_task(domain.authenticator.verify("paradrop", PASSWORD, HERE))
    second = asyncio.create_task(domain.authenticator.verify("paradrop", PASSWORD, HERE))
    while not domain.hasher.verified:
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).name == "paradrop"


async def test_a_throttled_attempt_costs_no_hash_even_with_the_right_password(domain: Domain) -> None:
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain)
    hashed = domain.hasher.verified
    with pytest.raises(LoginThrottled):
        await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    assert domain.hasher.verified == hashed


@pytest.mark.thorough
async def test_the_right_password_works_after_the_delay_however_long_the_attack(domain: Domain) -> None:
    for _ in range(30):
        await fails(domain)
        domain.clock.advance(60)
    user = await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    assert user.name == "paradrop"
    domain.clock.advance(KNOWN_FOR_S)
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)


async def test_an_attacker_elsewhere_does_not_stop_the_owner(domain: Domain) -> None:
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain)
    await domain.authenticator.verify("paradrop", PASSWORD, THERE)


async def test_a_client_with_an_old_password_does_not_stop_one_with_the_right_one(domain: Domain) -> None:
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain)
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)


async def test_guessing_against_known_credentials_is_slow_too(domain: Domain) -> None:
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain)
    for number in range(PER_USER_AND_ADDRESS.tolerated + 1):
        with pytest.raises(LoginThrottled):
            await domain.authenticator.verify("paradrop", f"guess number {number}", HERE)
    with pytest.raises(LoginThrottled):
        await domain.authenticator.verify("paradrop", PASSWORD, HERE)


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("paradrop", ""),
        ("nobody", ""),
        ("", "a password"),
        ("paradrop", "x" * (MAX_PASSWORD_BYTES + 1)),
        ("a name with blanks", "a password"),
        ("x" * 33, "a password"),
        ("paradrop\0", "a password"),
    ],
)
async def test_what_nobody_can_have_is_refused_for_nothing(
    domain: Domain, username: str, password: str
) -> None:
    for _ in range(100):
        with pytest.raises(Unauthenticated) as raised:
            await domain.authenticator.verify(username, password, HERE)
        assert raised.value.reason == "LOGIN_FAILED"
    assert domain.hasher.verified == 0
    assert await domain.logins() == []
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)


async def test_an_unknown_user_costs_what_a_wrong_password_costs(domain: Domain) -> None:
    assert await fails(domain, username="nobody") == await fails(domain) == "LOGIN_FAILED"
    assert domain.hasher.verified == 2
    user = domain.directory.user("paradrop")
    assert user
    # The same algorithm, memory, rounds and lanes: everything before the salt.
    assert domain.hasher.dummy.split("$")[:4] == user.password_hash.split("$")[:4]


async def test_an_unknown_user_is_throttled_like_a_known_one(domain: Domain) -> None:
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain, username="nobody")
    with pytest.raises(LoginThrottled):
        await domain.authenticator.verify("nobody", "a password", HERE)


async def test_refusals_are_written_down_and_a_storm_only_once(domain: Domain) -> None:
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        await fails(domain)
    for _ in range(10):
        with pytest.raises(LoginThrottled):
            await domain.authenticator.verify("paradrop", next(guesses), HERE)
    refused = [Outcome.REFUSED] * (PER_USER_AND_ADDRESS.free + 1)
    assert await domain.outcomes() == [Outcome.THROTTLED, *refused]
    assert {(login.username, login.address) for login in await domain.logins()} == {("paradrop", HERE)}


async def test_memory_for_credentials_is_bounded(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "MAX_KNOWN", 3)
    for number in range(5):
        address = f"192.0.2.{number}"
        await domain.authenticator.verify("paradrop", PASSWORD, address)
        await fails(domain)
    assert len(domain.authenticator._known) == len(domain.authenticator._refused) == 3


@pytest.mark.thorough
async def test_a_crowd_is_sent_away_and_not_counted(domain: Domain) -> None:
    results = await asyncio.gather(
        *(domain.authenticator.verify("paradrop", PASSWORD, f"10.0.0.{n}") for n in range(100)),
        return_exceptions=True,
    )
    busy = [result for result in results if isinstance(result, ResourceExhausted)]
    assert busy
    assert {result.reason for result in busy} == {"LOGIN_BUSY"}
    for number in range(100):
        await domain.authenticator.verify("paradrop", PASSWORD, f"10.0.0.{number}")


async def test_who_was_sent_away_by_a_crowd_has_made_no_mistake(domain: Domain) -> None:
    for _ in range(hasher.AT_ONCE):
        await domain.hasher._places.acquire()
    crowd = [
        asyncio.create_task(domain.authenticator.verify("paradrop", PASSWORD, f"10.0.0.{n}"))
        for n in range(hasher.MAX_WAITING)
    ]
    while domain.hasher.verified < len(crowd):
        await asyncio.sleep(0)
    for _ in range(PER_USER_AND_ADDRESS.free + 1):
        with pytest.raises(ResourceExhausted, match="at once"):
            await domain.authenticator.verify("paradrop", PASSWORD, HERE)
    for _ in range(hasher.AT_ONCE):
        domain.hasher._places.release()
    await asyncio.gather(*crowd)
    await domain.authenticator.verify("paradrop", PASSWORD, HERE)


async def test_only_the_latest_logins_are_kept(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT_LOGINS", 3)
    for number in range(5):
        await domain.audit.record(f"user{number}", HERE, Outcome.ACCEPTED)
    assert [login.username for login in await domain.logins()] == ["user4", "user3", "user2"]


async def test_an_audit_that_cannot_be_written_keeps_nobody_out(domain: Domain) -> None:
    await domain.store._execute("DROP TABLE logins")
    with structlog.testing.capture_logs() as logs:
        await domain.audit.record("paradrop", HERE, Outcome.ACCEPTED)
        assert await fails(domain) == "LOGIN_FAILED"
    assert [line["outcome"] for line in logs] == ["accepted", "refused"]
