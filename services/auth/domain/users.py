"""Adds, removes and lists users and changes their passwords."""

from collections.abc import Sequence

from services.auth.domain.directory import Directory
from services.auth.domain.model import DEFAULT_USER, User, check_password, check_username
from services.auth.domain.ports import Clock, Hasher, Store
from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from services.common.identity import LOCAL_DOMAIN, Principal, Role

MAX_USERS = 500
"""Every verifier reads the list of principals whole when it changes."""


class Users:
    """What can be done to users, and by whom."""

    def __init__(self, directory: Directory, store: Store, hasher: Hasher, clock: Clock) -> None:
        self._directory = directory
        self._store = store
        self._hasher = hasher
        self._clock = clock

    async def set_up(self, bootstrap_password: str) -> None:
        """Adds the default user at the first start of the node."""
        check_password(bootstrap_password)
        hashed = await self._hasher.hash(bootstrap_password)
        await self._store.set_up(hashed, DEFAULT_USER, Role.ADMIN, self._clock())

    def page(self, after: str, size: int) -> Sequence[User]:
        """Returns at most `size` users by name, from the first one after `after` on."""
        return [user for user in self._directory.users() if user.name > after][:size]

    async def add(self, actor: Principal, name: str, password: str, role: Role) -> User:
        """Adds a user."""
        check_username(name)
        check_password(password)
        if role > actor.role:
            raise _above(actor, role)
        self._check_free(name)
        hashed = await self._hasher.hash(password)

        async def work() -> User:
            self._check_free(name)
            return await self._directory.put_user(name, role, hashed, self._clock())

        return await self._directory.change(work)

    async def remove(self, actor: Principal, name: str) -> None:
        """Removes a user; somebody who can add users always stays."""

        async def work() -> None:
            user = self._existing(name)
            if user.role > actor.role:
                raise _above(actor, user.role)
            admins = [other for other in self._directory.users() if other.role >= Role.ADMIN]
            if admins == [user]:
                raise FailedPrecondition(
                    f"{name} is the last user who can administer this node; add another admin first.",
                    reason="LAST_ADMIN",
                    username=name,
                )
            await self._directory.delete_user(name)

        await self._directory.change(work)

    async def change_password(self, actor: Principal, name: str | None, password: str) -> None:
        """Changes the actor's own password, or that of somebody not above an administrator."""
        is_local_user = actor.kind == "user" and actor.domain == LOCAL_DOMAIN
        if name is None and not is_local_user:
            raise InvalidArgument(
                f"{actor.name} is no local user; name the user whose password changes.",
                reason="USERNAME_MISSING",
                field="username",
            )
        target = name or actor.name
        if actor.kind == "chute" or (
            actor.role < Role.ADMIN and not (is_local_user and target == actor.name)
        ):
            raise PermissionDenied(
                "Changing the password of somebody else needs the role admin.",
                reason="ROLE_TOO_LOW",
                needed_role=Role.ADMIN.name.lower(),
                role=actor.role.name.lower(),
            )
        self._changeable(actor, target)
        check_password(password)
        hashed = await self._hasher.hash(password)

        async def work() -> None:
            user = self._changeable(actor, target)
            await self._directory.put_user(user.name, user.role, hashed, user.created_s)

        await self._directory.change(work)

    async def clear_password(self, actor: Principal) -> None:
        """Sets the default user back to the password of the first start; adds it again if it was removed."""
        hashed = await self._store.bootstrap_hash()
        if hashed is None:
            raise RuntimeError("auth serves before it was set up")
        bootstrap_hash = hashed

        async def work() -> None:
            user = self._directory.user(DEFAULT_USER)
            if user and user.role > actor.role:
                raise _above(actor, user.role)
            role, created_s = (user.role, user.created_s) if user else (Role.ADMIN, self._clock())
            await self._directory.put_user(DEFAULT_USER, role, bootstrap_hash, created_s)

        await self._directory.change(work)

    def _existing(self, name: str) -> User:
        user = self._directory.user(name)
        if user is None:
            raise NotFound(
                f"There is no user {name!r}; list the users with GET /api/v1/users.",
                reason="USER_NOT_FOUND",
                username=name,
            )
        return user

    def _changeable(self, actor: Principal, name: str) -> User:
        user = self._existing(name)
        if user.role > actor.role:
            raise _above(actor, user.role)
        return user

    def _check_free(self, name: str) -> None:
        if self._directory.user(name):
            raise AlreadyExists(f"The user {name} exists already.", reason="USER_EXISTS", username=name)
        if len(self._directory.users()) >= MAX_USERS:
            raise ResourceExhausted(
                f"The node has {MAX_USERS} users, and cannot have more; remove one first.",
                reason="TOO_MANY_USERS",
                max_users=str(MAX_USERS),
            )


def _above(actor: Principal, role: Role) -> PermissionDenied:
    return PermissionDenied(
        f"The role {role.name.lower()} is above that of {actor.name}, {actor.role.name.lower()}.",
        reason="ROLE_TOO_LOW",
        needed_role=role.name.lower(),
        role=actor.role.name.lower(),
        username=actor.name,
    )
