"""The API of auth: reads a request, calls the domain, builds the reply."""

from typing import Any

from paradrop.auth.v1 import auth_pb2 as pb
from paradrop.auth.v1 import auth_pb2_grpc

from services.auth.domain.audit import Audit
from services.auth.domain.authenticator import Authenticator
from services.auth.domain.chute_tokens import ChuteTokens
from services.auth.domain.cloud import CloudLogin
from services.auth.domain.model import DEFAULT_USER, Login, Outcome, User, is_username
from services.auth.domain.tokens import TokenMint
from services.auth.domain.users import Users
from services.auth.rpc.peer import client_address
from services.common.errors import InvalidArgument
from services.common.identity import Role, current_principal
from services.common.paging import page_size, token_invalid
from services.common.timestamps import to_timestamp

SERVICE = pb.DESCRIPTOR.services_by_name["AuthService"]


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """Answers `paradrop.auth.v1.AuthService`."""

    def __init__(
        self,
        users: Users,
        authenticator: Authenticator,
        mint: TokenMint,
        chute_tokens: ChuteTokens,
        audit: Audit,
        cloud: CloudLogin,
    ) -> None:
        self._cloud = cloud
        self._users = users
        self._authenticator = authenticator
        self._mint = mint
        self._chute_tokens = chute_tokens
        self._audit = audit

    async def LoginLocal(self, request: pb.LoginLocalRequest, context: Any) -> pb.LoginLocalResponse:
        """Exchanges a user name and password for a token."""
        address = client_address(context.invocation_metadata())
        username = request.username if request.HasField("username") else DEFAULT_USER
        user = await self._authenticator.verify(username, request.password, address)
        await self._audit.record(user.name, address, Outcome.ACCEPTED)
        return pb.LoginLocalResponse(username=user.name, success=True, token=self._mint.user_token(user))

    async def LoginCloud(self, request: pb.LoginCloudRequest, context: Any) -> pb.LoginCloudResponse:
        """Exchanges a controller's user token for one of this node."""
        address = client_address(context.invocation_metadata())
        user, token = await self._cloud.login(request.token)
        await self._audit.record(user.email, address, Outcome.ACCEPTED)
        return pb.LoginCloudResponse(username=user.email, token=token)

    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: Any
    ) -> pb.ChangePasswordResponse:
        """Changes a password and ends the user's tokens."""
        username = request.username if request.HasField("username") else None
        await self._users.change_password(current_principal(), username, request.password)
        return pb.ChangePasswordResponse(success=True)

    async def ClearPassword(self, request: pb.ClearPasswordRequest, context: Any) -> pb.ClearPasswordResponse:
        """Sets the default user back to the password of the first start."""
        await self._users.clear_password(current_principal())
        return pb.ClearPasswordResponse(success=True)

    async def AddUser(self, request: pb.AddUserRequest, context: Any) -> pb.AddUserResponse:
        """Adds a user."""
        user = await self._users.add(
            current_principal(), request.username, request.password, _role(request.role)
        )
        return pb.AddUserResponse(user=_user(user))

    async def RemoveUser(self, request: pb.RemoveUserRequest, context: Any) -> pb.RemoveUserResponse:
        """Removes a user."""
        await self._users.remove(current_principal(), request.username)
        return pb.RemoveUserResponse()

    async def ListUsers(self, request: pb.ListUsersRequest, context: Any) -> pb.ListUsersResponse:
        """Lists users by name."""
        if request.page_token and not is_username(request.page_token):
            raise token_invalid()
        size = page_size(request.page_size)
        users = self._users.page(request.page_token, size + 1)
        return pb.ListUsersResponse(
            users=map(_user, users[:size]),
            next_page_token=users[size - 1].name if len(users) > size else "",
        )

    async def IssueChuteToken(
        self, request: pb.IssueChuteTokenRequest, context: Any
    ) -> pb.IssueChuteTokenResponse:
        """Gives a chute a new token."""
        token = await self._chute_tokens.issue(request.chute, request.former)
        return pb.IssueChuteTokenResponse(token=token)

    async def RestoreChuteToken(
        self, request: pb.RestoreChuteTokenRequest, context: Any
    ) -> pb.RestoreChuteTokenResponse:
        """Makes the token before the latest good again."""
        await self._chute_tokens.restore(request.chute, request.former)
        return pb.RestoreChuteTokenResponse()

    async def RevokeChuteToken(
        self, request: pb.RevokeChuteTokenRequest, context: Any
    ) -> pb.RevokeChuteTokenResponse:
        """Ends the token of a chute."""
        await self._chute_tokens.revoke(request.chute)
        return pb.RevokeChuteTokenResponse()

    async def ListLogins(self, request: pb.ListLoginsRequest, context: Any) -> pb.ListLoginsResponse:
        """Lists logins and refusals, newest first."""
        if request.page_token and not _is_login_id(request.page_token):
            raise token_invalid()
        size = page_size(request.page_size)
        before = int(request.page_token) if request.page_token else None
        logins = await self._audit.page(before, size + 1)
        return pb.ListLoginsResponse(
            logins=[_login(login) for _, login in logins[:size]],
            next_page_token=str(logins[size - 1][0]) if len(logins) > size else "",
        )


def _role(role: int) -> Role:
    try:
        return Role(role or Role.USER)
    except ValueError:
        raise InvalidArgument(
            "The role must be one of guest, user, trusted, admin and owner.",
            reason="ROLE_INVALID",
            field="role",
        ) from None


def _user(user: User) -> pb.User:
    return pb.User(
        username=user.name, role=pb.Role.ValueType(user.role), create_time=to_timestamp(user.created_s)
    )


def _login(login: Login) -> pb.Login:
    return pb.Login(
        time=to_timestamp(login.time_s),
        username=login.username,
        address=login.address,
        outcome=pb.Login.Outcome.ValueType(login.outcome),
    )


def _is_login_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18
