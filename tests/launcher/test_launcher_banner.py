"""What the banner says, and what it never says."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.common.settings import Settings, load_settings
from services.launcher.banner import Banner
from services.launcher.engine import EngineReport
from services.launcher.health import gateway_url

SOCKET = "unix:///var/run/docker.sock"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PARADROP_HOME": str(tmp_path)})


def banner(settings: Settings, **changes: object) -> str:
    healthy = Banner(settings, EngineReport(SOCKET, version="20.10"), False, {}, 1.25)
    return replace(healthy, **changes).text()  # type: ignore[arg-type]


def test_a_healthy_node(settings: Settings) -> None:
    text = banner(settings)
    assert "runs; it started in 1.2 s" in text
    assert "http://127.0.0.1:8080" in text
    assert f"Docker 20.10 at {SOCKET}\n" in text
    assert "Degraded" not in text
    assert "Warning" not in text


def test_the_generated_password_is_named_by_its_file(settings: Settings) -> None:
    settings.admin_password_file.write_text("correct horse")
    text = banner(settings)
    assert f"in {settings.admin_password_file}" in text
    assert "correct horse" not in text


def test_a_given_password_is_not_shown(settings: Settings) -> None:
    text = banner(replace(settings, admin_password="correct horse"))
    assert "as given in PARADROP_ADMIN_PASSWORD" in text
    assert "correct horse" not in text


def test_every_degraded_part_says_why(settings: Settings) -> None:
    text = banner(
        settings,
        engine=EngineReport(SOCKET, problem="no engine; install one"),
        degraded={"network": "does not start: no hostapd"},
    )
    assert "runs, degraded" in text
    assert "Docker engine: no engine; install one." in text
    assert "network: does not start: no hostapd" in text


def test_an_engine_of_our_own_is_told_apart(settings: Settings) -> None:
    assert "started for this run" in banner(settings, engine_is_own=True)


def test_open_to_a_network_without_tls_is_worth_a_warning(settings: Settings) -> None:
    assert "unencrypted" in banner(replace(settings, listen_host="0.0.0.0"))
    protected = replace(settings, listen_host="0.0.0.0", tls_cert=Path("/c"), tls_key=Path("/k"))
    assert "unencrypted" not in banner(protected)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("192.168.1.1", "http://192.168.1.1:8080"),
    ],
)
def test_the_url_can_be_clicked(settings: Settings, host: str, url: str) -> None:
    assert gateway_url(replace(settings, listen_host=host)) == url
