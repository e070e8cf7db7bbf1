"""The environment is read once, and what is wrong in it is named."""

import os
import stat
from pathlib import Path

import pytest

from services.common.settings import SERVICES, SettingError, Settings, load_settings


def loaded(tmp_path: Path, **environment: str) -> Settings:
    return load_settings({"PARADROP_HOME": str(tmp_path), **environment})


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings({"HOME": "/home/somebody"})
    assert settings.home == Path("/home/somebody/.local/state/paradrop")
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 8080)
    assert settings.admin_password is None
    assert settings.cors_origins == ()
    assert settings.tls_cert is None
    assert settings.docker_host is None
    assert settings.max_upload_bytes == 1024 * 1024 * 1024


def test_the_state_folder_of_the_user_is_respected() -> None:
    assert load_settings({"XDG_STATE_HOME": "/state"}).home == Path("/state/paradrop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        (":80", ("0.0.0.0", 80)),
        ("[::1]:8443", ("::1", 8443)),
        ("node.example:65535", ("node.example", 65535)),
    ],
)
def test_listen(tmp_path: Path, text: str, expected: tuple[str, int]) -> None:
    settings = loaded(tmp_path, PARADROP_LISTEN=text)
    assert (settings.listen_host, settings.listen_port) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PARADROP_LISTEN", "8080"),
        ("PARADROP_LISTEN", "localhost"),
        ("PARADROP_LISTEN", "localhost:"),
        ("PARADROP_LISTEN", "localhost:65536"),
        ("PARADROP_LISTEN", "localhost:0"),
        ("PARADROP_LISTEN", "localhost:http"),
        ("PARADROP_LISTEN", "http://localhost:80"),
        ("PARADROP_LISTEN", "::1:80"),
        ("PARADROP_LISTEN", "localhost:80\n"),
        ("PARADROP_CORS_ORIGINS", "*"),
        ("PARADROP_CORS_ORIGINS", "example.org"),
        ("PARADROP_CORS_ORIGINS", "https://example.org/path"),
        ("PARADROP_CORS_ORIGINS", "https://example.org, nonsense"),
        ("PARADROP_MAX_UPLOAD_MIB", "0"),
        ("PARADROP_CONCURRENT_BUILDS", "0"),
        ("PARADROP_CONCURRENT_BUILDS", "17"),
        ("PARADROP_CONCURRENT_BUILDS", "two"),
        ("PARADROP_GRACE_S", "-1"),
        ("PARADROP_GRACE_S", "601"),
        ("PARADROP_GRACE_S", "1e2"),
        ("PARADROP_GRACE_S", "nan"),
        ("PARADROP_MAX_UPLOAD_MIB", "-1"),
        ("PARADROP_MAX_UPLOAD_MIB", "1.5"),
        ("PARADROP_MAX_UPLOAD_MIB", "1 GiB"),
        ("PARADROP_RUNTIME", "/" + "x" * 100),
        ("PARADROP_NODE_ADDRESS", "127.0.0.1"),
        ("PARADROP_NODE_ADDRESS", "127.0.0.1:65536"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingError, match=name):
        loaded(tmp_path, **{name: text})


@pytest.mark.parametrize("given", ["PARADROP_TLS_CERT", "PARADROP_TLS_KEY"])
def test_half_of_tls_is_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "pem").touch()
    with pytest.raises(SettingError, match="both PARADROP_TLS_CERT and PARADROP_TLS_KEY"):
        loaded(tmp_path, **{given: str(tmp_path / "pem")})


def test_a_certificate_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    with pytest.raises(SettingError, match="PARADROP_TLS_CERT"):
        loaded(
            tmp_path,
            PARADROP_TLS_CERT=str(tmp_path / "absent.pem"),
            PARADROP_TLS_KEY=str(tmp_path / "key.pem"),
        )


def test_origins_are_divided_by_commas(tmp_path: Path) -> None:
    settings = loaded(tmp_path, PARADROP_CORS_ORIGINS="https://a.example/, http://b.example:81,")
    assert settings.cors_origins == ("https://a.example", "http://b.example:81")


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, PARADROP_ADMIN_PASSWORD="").admin_password is None
    assert loaded(tmp_path, PARADROP_ADMIN_PASSWORD_FILE="/dev/null").admin_password is None


def test_an_upload_limit_is_in_mebibytes(tmp_path: Path) -> None:
    assert loaded(tmp_path, PARADROP_MAX_UPLOAD_MIB="2").max_upload_bytes == 2 * 1024 * 1024
    assert loaded(tmp_path).concurrent_builds == 2
    assert loaded(tmp_path, PARADROP_CONCURRENT_BUILDS="4").concurrent_builds == 4
    assert loaded(tmp_path).grace_s == 3.0
    assert loaded(tmp_path, PARADROP_GRACE_S="0.5").grace_s == 0.5


def test_every_service_has_a_socket_and_can_have_another_address(tmp_path: Path) -> None:
    settings = loaded(tmp_path, PARADROP_RUNTIME="/run/pd", PARADROP_NODE_ADDRESS="127.0.0.1:5005")
    assert set(settings.addresses) == set(SERVICES)
    assert settings.addresses["auth"] == "unix:/run/pd/auth.sock"
    assert settings.addresses["node"] == "127.0.0.1:5005"


def test_on_a_network_the_parts_may_show_certificates(tmp_path: Path) -> None:
    tls = tmp_path / "tls" / "node"
    addresses = {"PARADROP_NODE_ADDRESS": "10.0.0.1:9005", "PARADROP_BRIDGE_ADDRESS": "10.0.0.1:9006"}
    settings = loaded(tmp_path, PARADROP_INTERNAL_TLS=str(tls), **addresses)
    assert settings.internal_tls == tls
    assert settings.addresses["node"] == "10.0.0.1:9005"
    assert settings.bridge_address == "10.0.0.1:9006"
    assert loaded(tmp_path).internal_tls is None
    assert loaded(tmp_path).bridge_address.startswith("unix:")


def test_sockets_of_a_long_state_folder_are_elsewhere() -> None:
    long = "/" + "x" * 120
    one, again, other = (
        load_settings({"PARADROP_HOME": home}).addresses["airshark"] for home in (long, long, long + "y")
    )
    assert one == again != other
    assert len(one.removeprefix("unix:")) < 108


def test_the_folders_are_private(tmp_path: Path) -> None:
    settings = loaded(tmp_path / "home", PARADROP_RUNTIME=str(tmp_path / "run"))
    settings.prepare()
    folders = [settings.home, settings.public_dir, settings.service_token_file.parent, settings.runtime]
    for folder in (*folders, settings.state_dir("auth")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    settings.prepare()


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    settings = loaded(tmp_path, PARADROP_ADMIN_PASSWORD="swordfish!")
    assert "swordfish" not in repr(settings)


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PARADROP_HOME", str(tmp_path))
    assert load_settings().home == tmp_path


def test_what_chutes_are_allowed_is_set_by_the_operator(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert (settings.allow_privileged, settings.allow_host_network) == (False, False)
    assert (dict(settings.base_images), settings.download_hosts, settings.download_ca) == ({}, (), None)
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    settings = loaded(
        tmp_path,
        PARADROP_ALLOW_PRIVILEGED="1",
        PARADROP_ALLOW_HOST_NETWORK="true",
        PARADROP_BASE_IMAGES="python3=lab.example:5000/python:3, go=golang:1.22",
        PARADROP_DOWNLOAD_HOSTS="Files.example, 10.0.0.7",
        PARADROP_DOWNLOAD_CA=str(certificate),
    )
    assert (settings.allow_privileged, settings.allow_host_network) == (True, True)
    assert settings.base_images == {"python3": "lab.example:5000/python:3", "go": "golang:1.22"}
    assert settings.download_hosts == ("files.example", "10.0.0.7")
    assert settings.download_ca == certificate


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PARADROP_ALLOW_PRIVILEGED", "maybe"),
        ("PARADROP_BASE_IMAGES", "python3"),
        ("PARADROP_BASE_IMAGES", "python3=a\nRUN x"),
        ("PARADROP_DOWNLOAD_HOSTS", "https://x"),
        ("PARADROP_DOWNLOAD_CA", "/nowhere/ca.pem"),
    ],
)
def test_wrong_settings_of_chutes_are_named(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=name):
        loaded(tmp_path, **{name: text})


def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" swordfish!\n")
    assert loaded(tmp_path, PARADROP_ADMIN_PASSWORD_FILE=str(file)).admin_password == " swordfish!"
    with pytest.raises(SettingError, match=r"PARADROP_ADMIN_PASSWORD or PARADROP_ADMIN_PASSWORD_FILE"):
        loaded(tmp_path, PARADROP_ADMIN_PASSWORD_FILE=str(file), PARADROP_ADMIN_PASSWORD="x")
    with pytest.raises(SettingError, match=f"PARADROP_ADMIN_PASSWORD_FILE .*{tmp_path}/none"):
        loaded(tmp_path, PARADROP_ADMIN_PASSWORD_FILE=f"{tmp_path}/none")
