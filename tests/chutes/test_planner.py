"""Plans: what a change does, worked out without doing anything."""

from dataclasses import replace
from typing import Any

import pytest

from services.chutes.domain.change import Change, Request, Situation
from services.chutes.domain.chute import Actor, Chute, image_tags, is_newer
from services.chutes.domain.planner import make_plan, situation_of
from services.chutes.domain.ports import ContainerState
from services.common.errors import DomainError
from tests.chutes.bench import spec, web_spec

OWNER = Actor("alice", "localhost", "trusted")
INSTALLED = Chute(
    spec=web_spec(version=1),
    owner=OWNER,
    version=1,
    images={"front": "web-front:1", "back": "web-back:1"},
    create_time_s=1.0,
    environment={"COLOUR": "green"},
    token="secret",
)
RUNNING = {
    name: ContainerState(name, "web", name.removeprefix("web-"), "running", {"80/tcp": 49080})
    for name in ("web-front", "web-back")
}


def _situation(kind: Any, old: Chute | None, states: Any = RUNNING, **request: Any) -> Situation:
    change = Change(7, Request(kind, "web", request.pop("user", OWNER), **request), 2.0)
    return situation_of(change, {old.name: old} if old else {}, states)


def _names(situation: Situation) -> list[str]:
    plan = make_plan(situation)
    return [step.name for step in (*plan.steps, *plan.finish)]


BRING_UP = [
    "create_container front",
    "create_container back",
    "start_container front",
    "start_container back",
    "verify_running",
]
TAKE_DOWN = ["remove_container back", "remove_container front"]
INSTALL: dict[str, Any] = {"spec": web_spec(version=2), "workspace": "w", "version": "x2"}


def test_an_install_makes_everything() -> None:
    assert _names(_situation("create", None, {}, **INSTALL)) == [
        "check_disk",
        "build_image front",
        "build_image back",
        "create_folders",
        "create_network",
        "issue_token",
        *BRING_UP,
    ]


def test_an_update_builds_before_it_takes_down() -> None:
    assert _names(_situation("update", INSTALLED, **INSTALL)) == [
        "check_disk",
        "build_image front",
        "build_image back",
        "create_folders",
        "create_network",
        "await_unlock",
        *TAKE_DOWN,
        "issue_token",
        *BRING_UP,
        "remove_images",
    ]


def test_an_update_of_nothing_is_an_install() -> None:
    assert _names(_situation("update", None, {}, **INSTALL)) == _names(
        _situation("create", None, {}, **INSTALL)
    )


def test_a_restart_builds_nothing() -> None:
    assert _names(_situation("restart", INSTALLED)) == [
        "create_folders",
        "create_network",
        "await_unlock",
        *TAKE_DOWN,
        "issue_token",
        *BRING_UP,
    ]


def test_a_stop_only_takes_down_and_ends_the_token() -> None:
    plan = make_plan(_situation("stop", INSTALLED))
    assert [step.name for step in plan.steps] == ["await_unlock", *TAKE_DOWN]
    assert [step.name for step in plan.finish] == ["revoke_token"]


def test_a_removal_erases_data_only_after_the_commit() -> None:
    plan = make_plan(_situation("delete", INSTALLED))
    assert [step.name for step in plan.steps] == ["await_unlock", *TAKE_DOWN, "remove_network"]
    assert [step.name for step in plan.finish] == ["revoke_token", "remove_images", "remove_folders"]


def test_what_is_not_there_is_not_taken_down() -> None:
    assert _names(_situation("stop", INSTALLED, {})) == ["revoke_token"]
    one = {"web-back": RUNNING["web-back"]}
    assert _names(_situation("stop", INSTALLED, one)) == [
        "await_unlock",
        "remove_container back",
        "revoke_token",
    ]


def test_steps_of_a_plan_have_names_of_their_own() -> None:
    for kind, old in (("create", None), ("update", INSTALLED), ("delete", INSTALLED)):
        names = _names(_situation(kind, old, **(INSTALL if kind != "delete" else {})))
        assert len(set(names)) == len(names)


def test_a_situation_survives_the_journal() -> None:
    situation = _situation("update", INSTALLED, **INSTALL)
    again = Situation.from_document(situation.to_document())
    assert again == situation
    assert _names(again) == _names(situation)


def test_an_update_keeps_owner_token_and_time() -> None:
    new = _situation("update", INSTALLED, **INSTALL, user=Actor("root", "localhost", "admin")).new
    assert new is not None
    assert (new.owner, new.token, new.create_time_s, new.version) == (OWNER, "secret", 1.0, 2)


@pytest.mark.parametrize(
    ("kind", "old", "reason"),
    [
        ("create", INSTALLED, "CHUTE_EXISTS"),
        ("start", INSTALLED, "CHUTE_RUNNING"),
        ("start", None, "CHUTE_NOT_FOUND"),
        ("stop", replace(INSTALLED, desired="stopped"), "CHUTE_STOPPED"),
        ("stop", None, "CHUTE_NOT_FOUND"),
        ("restart", None, "CHUTE_NOT_FOUND"),
        ("delete", None, "CHUTE_NOT_FOUND"),
    ],
)
def test_what_cannot_be_is_refused_when_its_turn_comes(kind: str, old: Chute | None, reason: str) -> None:
    request = INSTALL if kind == "create" else {}
    with pytest.raises(DomainError) as error:
        _situation(kind, old, **request)
    assert error.value.reason == reason


@pytest.mark.parametrize("kind", ["update", "start", "stop", "restart", "delete"])
def test_the_owner_is_checked_again_when_the_turn_comes(kind: str) -> None:
    request = INSTALL if kind == "update" else {}
    with pytest.raises(DomainError) as error:
        _situation(kind, INSTALLED, **request, user=Actor("alice", "paradrop.org", "trusted"))
    assert error.value.reason == "CHUTE_NOT_YOURS"


def test_an_update_to_an_older_version_is_refused() -> None:
    with pytest.raises(DomainError, match="Version 1 of the chute is already installed") as error:
        _situation("update", INSTALLED, **(INSTALL | {"version": 1}))
    assert error.value.reason == "VERSION_INSTALLED"


VERSIONS: list[tuple[Any, Any, bool]] = [
    (2, 1, True),
    (1, 1, False),
    (1, 2, False),
    (1.5, 1, True),
    ("x1700000000", 5, True),
    ("x1700000000", "9.9", True),
    ("x1500000000", "x1700000000", True),
    ("1.10", "1.9", True),
    ("1.9", "1.10", False),
    ("1.0.1", "1.0", True),
    ("1.0", "1.0", False),
    ("1.0", "1.0-rc1", True),
    ("1.0-rc2", "1.0-rc1", True),
    ("1.0-rc1", "1.0", False),
    ("1.0", 2, True),
    (2, "1.0", False),
    (None, 1, False),
    (5, "x1700000000", False),
]


@pytest.mark.parametrize(("version", "installed", "newer"), VERSIONS)
def test_versions_have_an_order(version: Any, installed: Any, newer: bool) -> None:
    assert is_newer(version, installed) is newer


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        (1, "1"),
        (1.5, "1.5"),
        ("1.0", "1.0"),
        ("x1700000000", "x1700000000"),
        ("1.0+git 7", "1.0-git-7"),
        ("-.-1", "1"),
        ("äöü", "x"),
        ("v" * 200, "v" * 80),
    ],
)
def test_images_are_tagged_with_the_version(version: Any, tag: str) -> None:
    assert image_tags(spec("web"), version, 7, {}) == {"main": f"web-main:{tag}"}


def test_the_same_version_gets_a_tag_of_its_own() -> None:
    taken = {"front": "web-front:1", "gone": "web-gone:1"}
    assert image_tags(web_spec(), 1, 7, taken) == {"front": "web-front:1-7", "back": "web-back:1-7"}
    assert image_tags(web_spec(), 2, 7, taken) == {"front": "web-front:2", "back": "web-back:2"}
