"""What the node adds to the engine's own work when a tiny chute is installed."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

from benchmarks.support import IDLE_COMMAND, TINY_IMAGE, running_node, table, tiny_chute

ROUNDS = 7


def main() -> None:
    """Installs a tiny chute, and does the engine's part of it alone, in turn."""
    engine = docker.from_env()
    node_s, engine_s = [], []
    with running_node() as node:
        for number in range(ROUNDS):
            name = f"bench-install-{number}"
            begin = time.time()
            answer = node.call("POST", "/chutes/", tiny_chute(name), "application/x-tar")
            node_s.append(node.finish(answer["change_id"]) - begin)
            node.finish(node.call("DELETE", f"/chutes/{name}")["change_id"])
            engine_s.append(_engine_alone(engine, f"bench-engine-{number}"))
    ours, theirs = (sorted(times)[ROUNDS // 2] for times in (node_s, engine_s))
    table(
        "Upload to running, a prebuilt tiny chute (median)",
        ["what", "seconds"],
        [
            ["the engine alone: build, network, create, start", f"{theirs:.2f}"],
            ["Paradrop: upload to change succeeded", f"{ours:.2f}"],
            ["**difference**", f"**{ours - theirs:.2f}** (aim 0.5)"],
            ["ratio", f"{ours / theirs:.2f}"],
        ],
    )


def _engine_alone(engine: docker.DockerClient, name: str) -> float:
    with TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(f"FROM {TINY_IMAGE}\nLABEL bench={name}\nCMD {IDLE_COMMAND}\n")
        begin = time.time()
        engine.images.build(path=folder, tag=f"{name}:1", rm=True, forcerm=True)
        network = engine.networks.create(name)
        container = engine.containers.create(f"{name}:1", name=name)
        network.connect(container, aliases=["main"])
        container.start()
        seconds = time.time() - begin
    container.remove(force=True)
    network.remove()
    engine.images.remove(f"{name}:1", force=True)
    return seconds
