"""The whole service over its socket, as other services and the gateway use it."""

import asyncio
import json
import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.auth.v1 import auth_pb2 as pb

from services.auth.app import running
from services.auth.domain.throttle import PER_USER_AND_ADDRESS
from services.common.channels import service_metadata
from services.common.identity import TokenVerifier
from services.common.settings import SettingError
from tests.support.auth import Service, refusal, service_with
from tests.support.settings import PASSWORD, settings_in

ENDS_WITHIN_S = 5


async def test_a_login_gives_a_token_that_others_verify(service: Service) -> None:
    reply = await service.auth.LoginLocal(pb.LoginLocalRequest(username="paradrop", password=PASSWORD))
    assert (reply.username, reply.success) == ("paradrop", True)
    verifier = TokenVerifier(service.settings.public_dir)
    principal = await asyncio.to_thread(verifier.verify, reply.token)
    assert (principal.name, principal.role.name) == ("paradrop", "ADMIN")


async def test_without_a_name_the_default_user_is_meant(service: Service) -> None:
    reply = await service.auth.LoginLocal(pb.LoginLocalRequest(password=PASSWORD))
    assert reply.username == "paradrop"


@pytest.mark.parametrize(
    "request_",
    [
        pb.LoginLocalRequest(),
        pb.LoginLocalRequest(username="paradrop"),
        pb.LoginLocalRequest(username="paradrop", password=""),
        pb.LoginLocalRequest(username="paradrop", password="wrong password"),
        pb.LoginLocalRequest(username="nobody", password=PASSWORD),
        pb.LoginLocalRequest(username="", password=PASSWORD),
        pb.LoginLocalRequest(username="__paradrop__", password=PASSWORD),
    ],
)
async def test_anything_else_is_refused_in_the_same_words(
    service: Service, request_: pb.LoginLocalRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.auth.LoginLocal(request_)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert raised.value.details() == "The user name or the password is wrong."


async def test_pdtools_may_try_an_empty_password_on_every_run(service: Service) -> None:
    metadata = [("x-forwarded-for", "192.0.2.1")]
    for _ in range(50):
        call = service.auth.LoginLocal(pb.LoginLocalRequest(username="paradrop"), metadata=metadata)
        assert await refusal(call) == ("UNAUTHENTICATED", "LOGIN_FAILED")
    admin = await service.login(address="192.0.2.1")
    logins = (await service.auth.ListLogins(pb.ListLoginsRequest(), metadata=admin)).logins
    assert [login.outcome for login in logins] == [pb.Login.OUTCOME_ACCEPTED]


async def test_too_many_wrong_ones_are_told_how_long_to_wait(service: Service) -> None:
    request = pb.LoginLocalRequest(username="paradrop", password="wrong password")
    metadata = [("x-forwarded-for", "203.0.113.9, 192.0.2.1")]
    for number in range(PER_USER_AND_ADDRESS.free + 1):
        guess = pb.LoginLocalRequest(username="paradrop", password=f"guess number {number}")
        call = service.auth.LoginLocal(guess, metadata=metadata)
        assert await refusal(call) == ("UNAUTHENTICATED", "LOGIN_FAILED")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.auth.LoginLocal(request, metadata=metadata)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(raised.value)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, retry.retry_delay.seconds) == ("LOGIN_THROTTLED", 1)

    # The address is the one that the gateway added, so that nobody gets a new one by claiming it.
    spoofed = [("x-forwarded-for", "198.51.100.7,192.0.2.1")]
    call = service.auth.LoginLocal(request, metadata=spoofed)
    assert await refusal(call) == ("RESOURCE_EXHAUSTED", "LOGIN_THROTTLED")
    admin = await service.login()
    logins = (await service.auth.ListLogins(pb.ListLoginsRequest(), metadata=admin)).logins
    assert {login.address for login in logins} == {"", "192.0.2.1"}


async def test_the_audit_has_pages_newest_first(service: Service) -> None:
    await refusal(service.auth.LoginLocal(pb.LoginLocalRequest(password="wrong password")))
    admin = await service.login(address="192.0.2.1")
    first = await service.auth.ListLogins(pb.ListLoginsRequest(page_size=1), metadata=admin)
    request = pb.ListLoginsRequest(page_size=1, page_token=first.next_page_token)
    second = await service.auth.ListLogins(request, metadata=admin)
    (accepted,), (refused,) = first.logins, second.logins
    assert (accepted.outcome, refused.outcome) == (pb.Login.OUTCOME_ACCEPTED, pb.Login.OUTCOME_REFUSED)
    assert (accepted.address, refused.address) == ("192.0.2.1", "")
    assert abs(accepted.time.ToSeconds() - time.time()) < 60
    assert first.next_page_token
    assert second.next_page_token == ""


async def test_users_have_pages_by_name(service: Service) -> None:
    admin = await service.login()
    for name in ("ann", "bob"):
        request = pb.AddUserRequest(username=name, password="a good password")
        added = (await service.auth.AddUser(request, metadata=admin)).user
        assert (added.username, added.role) == (name, pb.ROLE_USER)
        assert added.HasField("create_time")
    listed, token = [], ""
    for _ in range(3):
        request = pb.ListUsersRequest(page_size=1, page_token=token)
        page = await service.auth.ListUsers(request, metadata=admin)
        listed += [user.username for user in page.users]
        token = page.next_page_token
    assert (listed, token) == (["ann", "bob", "paradrop"], "")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.ListUsersRequest(page_size=-1), "PAGE_SIZE_OUT_OF_RANGE"),
        (pb.ListUsersRequest(page_token="1; DROP TABLE"), "PAGE_TOKEN_INVALID"),
        (pb.ListLoginsRequest(page_size=-1), "PAGE_SIZE_OUT_OF_RANGE"),
        (pb.ListLoginsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
        (pb.ListLoginsRequest(page_token="9" * 30), "PAGE_TOKEN_INVALID"),
        (pb.ListLoginsRequest(page_token="²"), "PAGE_TOKEN_INVALID"),
        (pb.AddUserRequest(username="ann", password="a good password", role=9), "ROLE_INVALID"),
    ],
)
async def test_nonsense_is_refused(service: Service, request_: object, reason: str) -> None:
    call = getattr(service.auth, type(request_).__name__.removesuffix("Request"))
    admin = await service.login()
    assert await refusal(call(request_, metadata=admin)) == ("INVALID_ARGUMENT", reason)


async def test_a_changed_password_ends_tokens_within_five_seconds(service: Service) -> None:
    admin = await service.login()
    changed = pb.ChangePasswordRequest(password="a new password")
    assert (await service.auth.ChangePassword(changed, metadata=admin)).success
    changed_s = time.monotonic()
    while True:
        try:
            await service.auth.ListUsers(pb.ListUsersRequest(), metadata=admin)
        except grpc.aio.AioRpcError as error:
            refused = error
            break
        assert time.monotonic() - changed_s < ENDS_WITHIN_S
        await asyncio.sleep(0.05)
    assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(service.auth.ListUsers(pb.ListUsersRequest(), metadata=admin)) == (
        "UNAUTHENTICATED",
        "TOKEN_REVOKED",
    )


async def test_a_token_of_the_new_password_works_at_once(service: Service) -> None:
    admin = await service.login()
    for number in range(5):
        await service.auth.ListUsers(pb.ListUsersRequest(), metadata=admin)
        password = f"new password {number}"
        await service.auth.ChangePassword(pb.ChangePasswordRequest(password=password), metadata=admin)
        admin = await service.login(password=password)


async def test_cleared_is_the_password_of_the_first_start(service: Service) -> None:
    admin = await service.login()
    await service.auth.ChangePassword(pb.ChangePasswordRequest(password="a new password"), metadata=admin)
    admin = await service.login(password="a new password")
    assert (await service.auth.ClearPassword(pb.ClearPasswordRequest(), metadata=admin)).success
    await service.login(password=PASSWORD)
    for password in ("", "a new password"):
        call = service.auth.LoginLocal(pb.LoginLocalRequest(password=password))
        assert await refusal(call) == ("UNAUTHENTICATED", "LOGIN_FAILED")


async def test_roles_are_enforced_over_the_wire(service: Service) -> None:
    admin = await service.login()
    request = pb.AddUserRequest(username="ann", password="password of ann", role=pb.ROLE_TRUSTED)
    await service.auth.AddUser(request, metadata=admin)
    ann = await service.login("ann", "password of ann")
    for call in (
        service.auth.AddUser(request, metadata=ann),
        service.auth.ListUsers(pb.ListUsersRequest(), metadata=ann),
        service.auth.ClearPassword(pb.ClearPasswordRequest(), metadata=ann),
        service.auth.ChangePassword(
            pb.ChangePasswordRequest(username="paradrop", password="taken over!"), metadata=ann
        ),
    ):
        assert await refusal(call) == ("PERMISSION_DENIED", "ROLE_TOO_LOW")
    own = pb.ChangePasswordRequest(password="a better password")
    assert (await service.auth.ChangePassword(own, metadata=ann)).success


async def test_only_services_deal_in_tokens_of_chutes(service: Service) -> None:
    admin = await service.login()
    request = pb.IssueChuteTokenRequest(chute="web")
    assert await refusal(service.auth.IssueChuteToken(request, metadata=admin)) == (
        "PERMISSION_DENIED",
        "SERVICES_ONLY",
    )
    again = pb.RestoreChuteTokenRequest(chute="web", former="x")
    assert await refusal(service.auth.RestoreChuteToken(again, metadata=admin)) == (
        "PERMISSION_DENIED",
        "SERVICES_ONLY",
    )
    services = await asyncio.to_thread(service_metadata, service.settings.service_token_file)
    former = (await service.auth.IssueChuteToken(request, metadata=services)).token
    request.former = former
    token = (await service.auth.IssueChuteToken(request, metadata=services)).token
    assert (await service.check(f"Bearer {former}")).HasField("denied_response")
    again.former = former
    await service.auth.RestoreChuteToken(again, metadata=services)
    assert (await service.check(f"Bearer {former}")).HasField("ok_response")
    assert (await service.check(f"Bearer {token}")).HasField("denied_response")
    token = (await service.auth.IssueChuteToken(request, metadata=services)).token
    await service.auth.RevokeChuteToken(pb.RevokeChuteTokenRequest(chute="web"), metadata=services)
    assert (await service.check(f"Bearer {token}")).HasField("denied_response")


async def test_a_chutes_token_does_not_change_passwords(service: Service) -> None:
    services = await asyncio.to_thread(service_metadata, service.settings.service_token_file)
    issued = await service.auth.IssueChuteToken(pb.IssueChuteTokenRequest(chute="web"), metadata=services)
    allowed = await service.check(f"Bearer {issued.token}")
    chute = [("authorization", allowed.ok_response.headers[0].header.value)]
    request = pb.ChangePasswordRequest(username="paradrop", password="taken over!")
    assert await refusal(service.auth.ChangePassword(request, metadata=chute)) == (
        "PERMISSION_DENIED",
        "CHUTE_TOKEN_NOT_ENOUGH",
    )


async def test_a_cloud_login_needs_a_controller(service: Service) -> None:
    assert await refusal(service.auth.LoginCloud(pb.LoginCloudRequest(token="x"))) == (
        "FAILED_PRECONDITION",
        "NOT_PROVISIONED",
    )
    assert await refusal(service.auth.LoginCloud(pb.LoginCloudRequest())) == (
        "UNAUTHENTICATED",
        "CLOUD_TOKEN_REFUSED",
    )


async def test_a_restart_keeps_everything_but_the_services_token(tmp_path: Path) -> None:
    with settings_in(tmp_path) as settings:
        async with service_with(settings) as service:
            admin = await service.login()
            request = pb.AddUserRequest(username="ann", password="password of ann", role=pb.ROLE_GUEST)
            await service.auth.AddUser(request, metadata=admin)
            services = await asyncio.to_thread(service_metadata, settings.service_token_file)
            issued = await service.auth.IssueChuteToken(
                pb.IssueChuteTokenRequest(chute="web"), metadata=services
            )
        async with service_with(settings) as service:
            listed = await service.auth.ListUsers(pb.ListUsersRequest(), metadata=admin)
            assert [user.username for user in listed.users] == ["ann", "paradrop"]
            await service.login("ann", "password of ann")
            assert (await service.check(f"Bearer {issued.token}")).HasField("ok_response")
            request = pb.RevokeChuteTokenRequest(chute="web")
            assert await refusal(service.auth.RevokeChuteToken(request, metadata=services)) == (
                "UNAUTHENTICATED",
                "TOKEN_REVOKED",
            )


async def test_the_password_setting_counts_at_the_first_start_only(tmp_path: Path) -> None:
    with settings_in(tmp_path) as settings:
        async with service_with(settings):
            pass
    with settings_in(tmp_path, PARADROP_ADMIN_PASSWORD="another password") as settings:
        async with service_with(settings) as service:
            await service.login(password=PASSWORD)
            call = service.auth.LoginLocal(pb.LoginLocalRequest(password="another password"))
            assert await refusal(call) == ("UNAUTHENTICATED", "LOGIN_FAILED")


async def test_without_a_password_setting_a_strong_one_is_generated(tmp_path: Path) -> None:
    with settings_in(tmp_path, PARADROP_ADMIN_PASSWORD="") as settings:
        async with service_with(settings) as service:
            file = settings.admin_password_file
            assert stat.S_IMODE((await asyncio.to_thread(file.stat)).st_mode) == 0o600
            generated = (await asyncio.to_thread(file.read_text)).strip()
            assert len(generated) >= 20
            admin = await service.login(password=generated)
            changed = pb.ChangePasswordRequest(password="a new password")
            await service.auth.ChangePassword(changed, metadata=admin)
        async with service_with(settings) as service:
            admin = await service.login(password="a new password")
            await service.auth.ClearPassword(pb.ClearPasswordRequest(), metadata=admin)
            await service.login(password=generated)


async def test_a_weak_password_setting_stops_the_first_start(tmp_path: Path) -> None:
    with (
        settings_in(tmp_path, PARADROP_ADMIN_PASSWORD="short") as settings,
        pytest.raises(SettingError, match="PARADROP_ADMIN_PASSWORD"),
    ):
        async with running(settings):
            pytest.fail("it started")
    with settings_in(tmp_path) as settings:
        async with service_with(settings) as service:
            await service.login()


async def test_passwords_are_stored_at_the_full_cost(tmp_path: Path) -> None:
    with settings_in(tmp_path) as settings:
        async with running(settings):
            pass
        with closing(sqlite3.connect(settings.home / "auth" / "auth.sqlite3")) as database:
            (stored,) = database.execute("SELECT password_hash FROM users").fetchone()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_secrets_are_private_and_never_in_clear(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = [PASSWORD, "wrong password", "password of ann"]
    with settings_in(tmp_path) as settings:
        async with service_with(settings) as service:
            admin = await service.login()
            await refusal(service.auth.LoginLocal(pb.LoginLocalRequest(password="wrong password")))
            request = pb.AddUserRequest(username="ann", password="password of ann")
            await service.auth.AddUser(request, metadata=admin)
            await service.check("Basic ann:password of ann")
            files = await asyncio.to_thread(_files, tmp_path)
    readable = {name for name, (mode, _) in files.items() if mode & 0o077}
    assert readable == {"public/jwks.json", "public/principals.json"}
    output = "".join(capfd.readouterr())
    for secret in secrets:
        assert secret not in output
        for name, (_, content) in files.items():
            assert secret.encode() not in content, name


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_nothing_is_written_for_a_request(service: Service) -> None:
    """Flash wears out: neither calls with a token nor a Basic header that is known may cost a write."""

    def stamps() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in service.settings.home.rglob("*")
            if path.is_file() and not path.name.endswith("-shm")
        }

    admin = await service.login()
    await service.check(f"Basic paradrop:{PASSWORD}")
    before = await asyncio.to_thread(stamps)
    for _ in range(20):
        await service.auth.ListUsers(pb.ListUsersRequest(), metadata=admin)
        await service.check(f"Basic paradrop:{PASSWORD}")
        await service.check("Basic paradrop:")
        await service.check(None)
    assert await asyncio.to_thread(stamps) == before


async def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with settings_in(blocked) as settings, pytest.raises(SettingError, match="file cannot be made"):
        async with running(settings):
            pytest.fail("it started")


async def test_what_is_published_is_json_that_others_can_read(service: Service) -> None:
    folder = service.settings.public_dir
    names = await asyncio.to_thread(os.listdir, folder)
    assert sorted(names) == ["jwks.json", "principals.json"]
    for name in names:
        assert json.loads(await asyncio.to_thread((folder / name).read_text))
