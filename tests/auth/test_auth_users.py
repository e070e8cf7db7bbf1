"""Who may manage whom, and that the node never ends up without an administrator."""

import asyncio

import pytest

from services.auth.domain import users as users_module
from services.auth.domain.model import MAX_PASSWORD_BYTES
from services.common.errors import DomainError, Unauthenticated
from services.common.identity import SYSTEM, Principal, Role
from tests.support.auth import Domain
from tests.support.settings import PASSWORD

ADMIN = Principal("paradrop", Role.ADMIN)
OWNER = Principal("olga", Role.OWNER)
GOOD = "a good password"


async def refused(call: object) -> str:
    with pytest.raises(DomainError) as raised:
        await call  # type: ignore[misc]
    return raised.value.reason


async def can_log_in(domain: Domain, username: str, password: str) -> bool:
    try:
        await domain.authenticator.verify(username, password, "")
    except Unauthenticated:
        return False
    return True


def names(domain: Domain) -> list[str]:
    return [user.name for user in domain.directory.users()]


async def test_the_default_user_is_an_admin(domain: Domain) -> None:
    user = domain.directory.user("paradrop")
    assert user
    assert user.role is Role.ADMIN
    assert user.created_s == domain.wall_clock()


async def test_an_added_user_can_log_in(domain: Domain) -> None:
    added = await domain.users.add(ADMIN, "ann", GOOD, Role.TRUSTED)
    assert (added.name, added.role) == ("ann", Role.TRUSTED)
    assert await can_log_in(domain, "ann", GOOD)


@pytest.mark.parametrize(
    "name",
    ["", " ", "1ann", "_ann", "ann lee", "ann\n", "änn", "x" * 33, "__paradrop__", "a/b", "a:b", "../a"],
)
async def test_a_bad_name_is_refused(domain: Domain, name: str) -> None:
    assert await refused(domain.users.add(ADMIN, name, GOOD, Role.USER)) == "USERNAME_INVALID"


@pytest.mark.parametrize("name", ["a", "Ann.Lee-2_x", "x" * 32])
async def test_a_good_name_is_taken(domain: Domain, name: str) -> None:
    assert (await domain.users.add(ADMIN, name, GOOD, Role.USER)).name == name


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "PASSWORD_TOO_SHORT"),
        ("seven77", "PASSWORD_TOO_SHORT"),
        ("x" * (MAX_PASSWORD_BYTES + 1), "PASSWORD_TOO_LONG"),
        ("é" * (MAX_PASSWORD_BYTES // 2 + 1), "PASSWORD_TOO_LONG"),
    ],
)
async def test_a_bad_password_is_refused_everywhere(domain: Domain, password: str, reason: str) -> None:
    assert await refused(domain.users.add(ADMIN, "ann", password, Role.USER)) == reason
    assert await refused(domain.users.change_password(ADMIN, None, password)) == reason
    assert await can_log_in(domain, "paradrop", PASSWORD)


@pytest.mark.parametrize(
    "password", ["eight888", "éééé", "x" * MAX_PASSWORD_BYTES, "with:colons: and\nlines"]
)
async def test_a_good_password_works(domain: Domain, password: str) -> None:
    await domain.users.change_password(ADMIN, None, password)
    assert await can_log_in(domain, "paradrop", password)
    assert not await can_log_in(domain, "paradrop", password[:-1])


async def test_a_taken_name_is_refused(domain: Domain) -> None:
    assert await refused(domain.users.add(ADMIN, "paradrop", GOOD, Role.USER)) == "USER_EXISTS"


async def test_of_two_who_add_the_same_name_one_wins(domain: Domain) -> None:
    results = await asyncio.gather(
        *(domain.users.add(ADMIN, "ann", f"{GOOD} {n}", Role.USER) for n in range(2)), return_exceptions=True
    )
    reasons = [result.reason for result in results if isinstance(result, DomainError)]
    assert reasons == ["USER_EXISTS"]
    assert names(domain) == ["ann", "paradrop"]


async def test_nobody_gives_a_role_above_the_own_one(domain: Domain) -> None:
    assert await refused(domain.users.add(ADMIN, "ann", GOOD, Role.OWNER)) == "ROLE_TOO_LOW"
    await domain.users.add(OWNER, "ann", GOOD, Role.OWNER)


async def test_nobody_touches_somebody_above(domain: Domain) -> None:
    await domain.users.add(OWNER, "olga", GOOD, Role.OWNER)
    assert await refused(domain.users.remove(ADMIN, "olga")) == "ROLE_TOO_LOW"
    assert await refused(domain.users.change_password(ADMIN, "olga", "taken over!")) == "ROLE_TOO_LOW"
    assert await can_log_in(domain, "olga", GOOD)
    await domain.users.change_password(OWNER, "paradrop", "from above")
    await domain.users.remove(OWNER, "paradrop")


async def test_there_can_only_be_so_many_users(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "MAX_USERS", 2)
    await domain.users.add(ADMIN, "ann", GOOD, Role.USER)
    assert await refused(domain.users.add(ADMIN, "bob", GOOD, Role.USER)) == "TOO_MANY_USERS"


async def test_a_removed_user_cannot_log_in(domain: Domain) -> None:
    await domain.users.add(ADMIN, "ann", GOOD, Role.USER)
    await domain.users.remove(ADMIN, "ann")
    assert not await can_log_in(domain, "ann", GOOD)
    assert await refused(domain.users.remove(ADMIN, "ann")) == "USER_NOT_FOUND"


async def test_the_last_admin_stays(domain: Domain) -> None:
    await domain.users.add(ADMIN, "ann", GOOD, Role.TRUSTED)
    assert await refused(domain.users.remove(ADMIN, "paradrop")) == "LAST_ADMIN"
    await domain.users.add(ADMIN, "bob", GOOD, Role.ADMIN)
    await domain.users.remove(ADMIN, "paradrop")
    assert await refused(domain.users.remove(Principal("bob", Role.ADMIN), "bob")) == "LAST_ADMIN"
    assert names(domain) == ["ann", "bob"]


async def test_of_two_admins_that_are_removed_at_once_one_stays(domain: Domain) -> None:
    await domain.users.add(ADMIN, "bob", GOOD, Role.ADMIN)
    results = await asyncio.gather(
        domain.users.remove(ADMIN, "bob"), domain.users.remove(ADMIN, "paradrop"), return_exceptions=True
    )
    assert [getattr(result, "reason", None) for result in results] == [None, "LAST_ADMIN"]


@pytest.mark.parametrize("role", list(Role))
async def test_everybody_changes_the_own_password(domain: Domain, role: Role) -> None:
    await domain.users.add(OWNER, "ann", GOOD, role)
    await domain.users.change_password(Principal("ann", role), None, "a better one")
    assert await can_log_in(domain, "ann", "a better one")
    await domain.users.change_password(Principal("ann", role), "ann", "the best one")
    assert await can_log_in(domain, "ann", "the best one")


@pytest.mark.parametrize("role", [Role.GUEST, Role.USER, Role.TRUSTED])
async def test_only_admins_change_other_passwords(domain: Domain, role: Role) -> None:
    await domain.users.add(ADMIN, "bob", GOOD, Role.GUEST)
    actor = Principal("ann", role)
    for target in ("bob", "paradrop", "nobody"):
        # Also for a name that does not exist: who does is no business of theirs.
        assert await refused(domain.users.change_password(actor, target, "taken over!")) == "ROLE_TOO_LOW"
    await domain.users.change_password(ADMIN, "bob", "reset by an admin")
    assert await can_log_in(domain, "bob", "reset by an admin")


async def test_an_unknown_user_has_no_password(domain: Domain) -> None:
    assert await refused(domain.users.change_password(ADMIN, "nobody", GOOD)) == "USER_NOT_FOUND"


async def test_a_namesake_from_elsewhere_is_not_the_local_user(domain: Domain) -> None:
    stranger = Principal("paradrop", Role.USER, domain="paradrop.org")
    chute = Principal("paradrop", Role.USER, kind="chute")
    for actor in (stranger, chute):
        assert await refused(domain.users.change_password(actor, None, GOOD)) == "USERNAME_MISSING"
        assert await refused(domain.users.change_password(actor, "paradrop", GOOD)) == "ROLE_TOO_LOW"
    assert await can_log_in(domain, "paradrop", PASSWORD)


async def test_a_service_must_say_whose_password(domain: Domain) -> None:
    assert await refused(domain.users.change_password(SYSTEM, None, GOOD)) == "USERNAME_MISSING"
    await domain.users.change_password(SYSTEM, "paradrop", GOOD)
    assert await can_log_in(domain, "paradrop", GOOD)


async def test_clear_brings_the_first_password_back(domain: Domain) -> None:
    await domain.users.change_password(ADMIN, None, "a new password")
    await domain.users.clear_password(ADMIN)
    assert await can_log_in(domain, "paradrop", PASSWORD)
    assert not await can_log_in(domain, "paradrop", "a new password")
    assert not await can_log_in(domain, "paradrop", "")


async def test_clear_brings_the_default_user_back(domain: Domain) -> None:
    await domain.users.add(ADMIN, "bob", GOOD, Role.ADMIN)
    await domain.users.remove(ADMIN, "paradrop")
    await domain.users.clear_password(Principal("bob", Role.ADMIN))
    user = domain.directory.user("paradrop")
    assert user
    assert user.role is Role.ADMIN
    assert await can_log_in(domain, "paradrop", PASSWORD)
    assert names(domain) == ["bob", "paradrop"]


async def test_clear_does_not_help_an_admin_to_become_owner(domain: Domain) -> None:
    await domain.users.add(OWNER, "olga", GOOD, Role.OWNER)
    await domain.users.remove(OWNER, "paradrop")
    await domain.users.add(OWNER, "paradrop", GOOD, Role.OWNER)
    assert await refused(domain.users.clear_password(ADMIN)) == "ROLE_TOO_LOW"


async def test_every_change_begins_a_generation_that_never_was(domain: Domain) -> None:
    seen = set()

    def note() -> None:
        user = domain.directory.user("paradrop")
        assert user
        assert user.generation not in seen
        seen.add(user.generation)

    note()
    await domain.users.change_password(ADMIN, None, GOOD)
    note()
    await domain.users.clear_password(ADMIN)
    note()
    await domain.users.add(ADMIN, "bob", GOOD, Role.ADMIN)
    await domain.users.remove(ADMIN, "paradrop")
    await domain.users.add(Principal("bob", Role.ADMIN), "paradrop", GOOD, Role.USER)
    note()


async def test_a_change_ends_even_when_its_caller_goes_away(domain: Domain) -> None:
    changing = asyncio.create_task(domain.users.change_password(ADMIN, None, "a new password"))
    before = domain.directory.user("paradrop")
    while not domain.directory._changes:
        await asyncio.sleep(0)
    changing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await changing
    await domain.directory.settle()
    assert domain.directory.user("paradrop") is not before
    assert await can_log_in(domain, "paradrop", "a new password")
    stored = {user.name: user for user in await domain.store.users()}
    assert stored["paradrop"] == domain.directory.user("paradrop")


async def test_pages(domain: Domain) -> None:
    for name in ("ann", "bob", "zoe"):
        await domain.users.add(ADMIN, name, GOOD, Role.USER)
    assert [user.name for user in domain.users.page("", 2)] == ["ann", "bob"]
    assert [user.name for user in domain.users.page("bob", 2)] == ["paradrop", "zoe"]
    assert domain.users.page("zoe", 2) == []
