"""Changes that go well, one after the other."""

from tests.chutes.bench import ADMIN, Bench, spec, web_spec


async def test_an_install_leaves_a_running_chute(bench: Bench) -> None:
    async with bench.running() as node:
        change = await node.install(web_spec(version=1))
        assert (change.status, change.failure, change.percent) == ("succeeded", None, 100)
        chute = node.domain.manager.find("web", ADMIN)
        assert chute.version == 1
        assert bench.engine.images == {"web-front:1": "web", "web-back:1": "web"}
        assert bench.engine.networks == {"web": "web"}
        assert {name: c.status for name, c in bench.engine.running.items()} == {
            "web-front": "running",
            "web-back": "running",
        }
        assert bench.files() == ["data/web", "system/web"]
        assert bench.tokens.tokens == {"web": chute.token}


async def test_containers_get_what_the_contract_says(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(web_spec(version="1.0"))
        back = bench.engine.running["web-back"].plan
        assert back.environment == {
            "COLOUR": "blue",
            "PARADROP_CHUTE_NAME": "web",
            "PARADROP_CHUTE_VERSION": "1.0",
            "PARADROP_FEATURES": "audio hostapd-control",
            "PARADROP_ROUTER_ID": "",
            "PARADROP_DATA_DIR": "/data/",
            "PARADROP_SYSTEM_DIR": "/paradrop/",
            "PARADROP_API_URL": "http://paradrop.io:8080/api",
            "PARADROP_BASE_URL": "http://paradrop.io:8080/api/v1/chutes/web",
            "PARADROP_WS_API_URL": "ws://paradrop.io:8080/ws",
            "PARADROP_API_TOKEN": bench.tokens.tokens["web"],
        }
        assert back.volumes == {
            bench.home / "data" / "web": ("/data/", "rw"),
            bench.home / "system" / "web": ("/paradrop/", "ro"),
        }
        assert (back.network, back.aliases, back.image) == ("web", ["back"], "web-back:1.0")
        front = bench.engine.running["web-front"].plan
        assert front.environment["COLOUR"] == "green"
        assert [port.key for port in front.ports] == ["443/tcp", "80/tcp"]


async def test_messages_tell_the_steps_and_then_the_outcome(bench: Bench) -> None:
    async with bench.running() as node:
        change = await node.install(spec())
        lines = await node.lines(change.id)
        assert lines == [
            "Calling check_disk",
            "Calling build_image main",
            "Step 1/1 : FROM scratch",
            "Calling create_folders",
            "Calling create_network",
            "Calling issue_token",
            "Calling create_container main",
            "Calling start_container main",
            "Calling verify_running",
            "Chute web create success",
            "Completed create operation on chute web: success",
        ]


async def test_a_chute_lives_through_all_commands(bench: Bench) -> None:
    async with bench.running() as node:
        await node.install(spec())
        data = bench.home / "data" / "web" / "kept"
        data.write_text("precious")
        tokens = [bench.tokens.tokens["web"]]
        for command, containers in (("stop", set()), ("start", {"web-main"}), ("restart", {"web-main"})):
            change = await node.command(command)
            assert change.status == "succeeded"
            assert set(bench.engine.running) == containers
            assert data.read_text() == "precious"
            tokens.append(bench.tokens.tokens.get("web", ""))
        before, stopped, started, restarted = tokens
        assert stopped == ""
        assert len({before, started, restarted}) == 3
        assert bench.engine.running["web-main"].plan.environment["PARADROP_API_TOKEN"] == restarted
        assert (await node.command("delete")).status == "succeeded"
        assert bench.engine.snapshot() == ({}, [], {}, {})
        assert bench.files() == []
        assert bench.tokens.tokens == {}
        assert node.domain.manager.visible(ADMIN) == []
