"""Documented settings: where they come from, their kinds, and what is said about mistakes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.options import SECRET, load_options, read_ini
from services.common.settings import load_settings


def load(home: Path, ini: str = "", **environment: str):
    home.mkdir(exist_ok=True)
    if ini:
        (home / "settings.ini").write_text(ini)
    settings = load_settings({"PARADROP_HOME": str(home), "PARADROP_LISTEN": "127.0.0.1:8123"})
    return load_options(settings, environment)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_documented_setting_is_there_with_its_kind(tmp_path: Path) -> None:
    options = load(tmp_path / "home")
    assert len(options.values) == 48
    assert options.problems == ()
    shown = options.shown()
    assert shown["concurrent_builds"] is True
    assert shown["portal_server_port"] == 8123
    assert shown["fc_bounce_update"] is None
    assert shown["pdserver"] == "https://paradrop.org"
    assert shown["host_config_file"] == f"{tmp_path}/home/hostconfig.yaml"


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    options = load(tmp_path / "home", DEFAULT_PANEL_PASSWORD="hunter2", DEFAULT_WIRELESS_KEY="hunter3")
    assert options.values["default_panel_password"] == "hunter2"
    assert {options.shown()[name] for name in SECRET} == {None}


def test_the_environment_wins_over_the_file_and_the_file_over_what_is_built_in(tmp_path: Path) -> None:
    ini = "[base]\ndefault_wireless_essid = From file\nlocal_domain: lan\nconcurrent_builds = False\n"
    options = load(tmp_path / "home", ini, DEFAULT_WIRELESS_ESSID="From environment")
    assert options.values["default_wireless_essid"] == "From environment"
    assert options.values["local_domain"] == "lan"
    assert options.values["concurrent_builds"] is False


def test_a_misspelt_setting_of_ours_is_told(tmp_path: Path) -> None:
    others = dict.fromkeys(("PARADROP_PASSWORD", "PARADROP_API_TOKEN", "PARADROP_NETWORK_HOST"), "x")
    options = load(tmp_path / "home", PARADROP_CORS_ORIGIN="https://a", PARADROP_GRACE_S="4", **others)
    assert [str(problem) for problem in options.problems] == [
        "PARADROP_CORS_ORIGIN: there is no such setting; PARADROP_CORS_ORIGINS may be meant."
    ]


def test_later_files_win(tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text("[base]\nlocal_domain = here\ndebug_mode = true\n")
    snap = tmp_path / "snap"
    snap.mkdir()
    (snap / "settings.ini").write_text("[base]\nlocal_domain = snap\n")
    options = load(tmp_path / "home", "[base]\nlocal_domain = home\n", SNAP_COMMON=str(snap))
    assert options.values["local_domain"] == "snap"
    assert options.values["debug_mode"] is True


def test_mistakes_are_told_with_their_lines_and_change_nothing(tmp_path: Path) -> None:
    ini = (
        "[base]\n"
        "colour = blue\n"
        "container_uid = many\n"
        "concurrent_builds = perhaps\n"
        "default_wireless_key = fine\n"
        "log_dir = /elsewhere\n"
        "what is this\n"
        "[other]\n"
        "local_domain = lan\n"
    )
    options = load(tmp_path / "home", ini, PDSERVER_MAX_CONCURRENT_REQUESTS="2.5")
    told = {problem.where.rpartition("/")[2]: problem.message for problem in options.problems}
    assert set(told) == {
        "settings.ini:7", "settings.ini:9", "settings.ini:2", "settings.ini:3", "settings.ini:4",
        "settings.ini:6", "PDSERVER_MAX_CONCURRENT_REQUESTS",
    }  # fmt: skip
    assert "'colour'" in told["settings.ini:2"]
    assert "whole number" in told["settings.ini:3"]
    assert "boolean" in told["settings.ini:4"]
    assert "no effect" in told["settings.ini:6"]
    assert options.values["container_uid"] == 999
    assert options.values["concurrent_builds"] is True
    assert options.values["local_domain"] == "paradrop.io"
    assert options.values["default_wireless_key"] == "fine"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.ini").write_bytes(b"[base]\nlocal_domain = \xff\n")
    assert "UnicodeDecodeError" in load(home).problems[0].message


@given(st.text(max_size=200))
def test_any_text_is_read_or_told_of(text: str) -> None:
    problems: list = []
    for where, name, value in read_ini("f", text, problems):
        assert where.startswith("f:")
        assert name == name.lower()
        assert value == value.strip() or not value.isascii()
