"""A small controller of a fleet of Paradrop nodes, to start from.

    python controller.py --listen 0.0.0.0:9400 --state fleet.sqlite3 --tokens tokens.json

Nodes dial it; `tokens.json` maps the id of each node to its token. Commands are lines of standard input:

    nodes                   the nodes, connected or not, and their chutes
    install FOLDER [NODE]   installs the chute in a folder on all connected nodes, or on one
    call NODE METHOD        calls a method with an empty request: /paradrop.node.v1.NodeService/GetSoftware
    watch                   shows load, progress, detections and warnings of all nodes as they come

What nodes tell is printed as one JSON object a line.
"""

import argparse
import asyncio
import io
import itertools
import json
import secrets
import sqlite3
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import descriptor_pool, json_format, message_factory
from paradrop.chutes.v1 import uploads_pb2
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.controller.v1 import controller_pb2_grpc

UPLOAD = "/paradrop.chutes.v1.ChuteUploadService/UploadChute"
PIECE_BYTES = 256 * 1024


def say(kind: str, node: str, **facts: Any) -> None:
    """Prints one thing that happened."""
    print(json.dumps({"kind": kind, "node": node, **facts}), flush=True)


class Store:
    """What nodes have told, in a file: a record that was acknowledged is never asked for again."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS progress"
            " (node TEXT, queue TEXT, sequence INT, PRIMARY KEY (node, queue))"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS records (node TEXT, sequence INT, record TEXT)")

    def last(self, node: str, queue: str) -> int:
        """Returns the last record of a series that is stored."""
        row = self._db.execute(
            "SELECT sequence FROM progress WHERE node = ? AND queue = ?", (node, queue)
        ).fetchone()
        return row[0] if row else 0

    def add(self, node: str, queue: str, record: pb.Record) -> bool:
        """Stores a record unless it is stored already; after that it may be acknowledged."""
        if record.sequence <= self.last(node, queue):
            return False
        content = json_format.MessageToJson(record, indent=None)
        self._db.execute("BEGIN")
        self._db.execute("INSERT INTO records VALUES (?, ?, ?)", (node, record.sequence, content))
        self._db.execute(
            "INSERT INTO progress VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET sequence = ?3",
            (node, queue, record.sequence),
        )
        self._db.execute("COMMIT")
        return True


class Node:
    """A connected node."""

    def __init__(self, node_id: str) -> None:
        self.id = node_id
        self.state = pb.NodeState()
        self.outgoing: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue(32)
        self._ids = map(str, itertools.count(1))
        self._answers: dict[str, asyncio.Queue[pb.CallAnswer]] = {}

    async def call(self, method: str, *requests: bytes, key: str = "") -> AsyncIterator[bytes]:
        """Calls a method of the node; raises RuntimeError with its status if it fails."""
        call_id, answers = next(self._ids), asyncio.Queue[pb.CallAnswer]()
        self._answers[call_id] = answers
        first, *rest = requests
        call = pb.Call(call_id=call_id, method=method, message=first, more=bool(rest), key=key)
        await self.outgoing.put(pb.ConnectResponse(call=call))
        for number, request in enumerate(rest, start=1):
            more = pb.CallInput(call_id=call_id, message=request, last=number == len(rest))
            await self.outgoing.put(pb.ConnectResponse(input=more))
        try:
            while (answer := await answers.get()).HasField("message"):
                yield answer.message
            if answer.end.code:
                raise RuntimeError(f"{self.id}: {answer.end.message}")
        finally:
            del self._answers[call_id]

    def answered(self, answer: pb.CallAnswer) -> None:
        """Gives the part of an answer to whoever waits for it."""
        if waiting := self._answers.get(answer.call_id):
            waiting.put_nowait(answer)

    def close(self) -> None:
        """Lets those who wait for answers know that there will be none."""
        gone = pb.CallAnswer()
        gone.end.code, gone.end.message = 14, "the connection ended"
        for waiting in self._answers.values():
            waiting.put_nowait(gone)


class Controller(controller_pb2_grpc.ControllerServiceServicer):
    """Answers the nodes."""

    def __init__(self, store: Store, tokens: dict[str, str]) -> None:
        self._store = store
        self._tokens = tokens
        self.nodes: dict[str, Node] = {}
        self.subscription = pb.Subscription(progress=True)

    async def Connect(self, requests: AsyncIterator[pb.ConnectRequest], context: Any) -> AsyncIterator[Any]:
        """Serves one connection of a node."""
        metadata = dict(context.invocation_metadata())
        node_id, header = metadata.get("paradrop-node", ""), metadata.get("authorization", "")
        expected = f"Bearer {self._tokens.get(node_id, secrets.token_hex())}"
        if not secrets.compare_digest(header.encode(), expected.encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "This id and token are not known here.")
        hello = (await anext(requests)).hello
        node = self.nodes[node_id] = Node(node_id)
        say("connected", node_id, version=hello.version, forgotten=hello.forgotten_count)
        last = self._store.last(node_id, hello.queue_id)
        yield pb.ConnectResponse(welcome=pb.Welcome(acknowledged_sequence=last))
        yield pb.ConnectResponse(subscription=self.subscription)
        reading = asyncio.create_task(self._read(node, hello.queue_id, requests))
        try:
            while not reading.done():
                sending = asyncio.ensure_future(node.outgoing.get())
                await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    yield sending.result()
                sending.cancel()
        finally:
            reading.cancel()
            node.close()
            if self.nodes.get(node_id) is node:
                del self.nodes[node_id]
            say("disconnected", node_id)

    async def _read(self, node: Node, queue: str, requests: AsyncIterator[pb.ConnectRequest]) -> None:
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "record":
                record = request.record
                # Whatever is done with a record is done before the acknowledgement, or not at all.
                if self._store.add(node.id, queue, record) and record.HasField("change_ended"):
                    change = record.change_ended
                    say("ended", node.id, change=change.id, name=change.name, status=change.status)
                if record.HasField("state"):
                    node.state = record.state
                    say("state", node.id, chutes={c.name: c.state for c in record.state.chutes})
                done = pb.Acknowledgement(sequence=record.sequence)
                await node.outgoing.put(pb.ConnectResponse(acknowledgement=done))
            elif kind == "live":
                event = request.live.WhichOneof("event")
                say(event or "live", node.id, content=json_format.MessageToDict(request.live))
            elif kind == "answer":
                node.answered(request.answer)

    async def install(self, node: Node, folder: Path) -> None:
        """Installs the chute in a folder on a node; the end of the change comes as a record."""
        requests = []
        content = _tar(folder)
        for begin in range(0, len(content), PIECE_BYTES):
            piece = httpbody_pb2.HttpBody(
                content_type="application/x-tar", data=content[begin : begin + PIECE_BYTES]
            )
            requests.append(uploads_pb2.UploadChuteRequest(content=piece).SerializeToString())
        async for reply in node.call(UPLOAD, *requests):
            change_id = uploads_pb2.UploadChuteResponse.FromString(reply).change_id
            say("accepted", node.id, change=change_id)

    async def command(self, line: str) -> None:
        """Does what a line of standard input says."""
        word, *rest = line.split()
        if word == "nodes":
            for node_id in sorted(self._tokens):
                node = self.nodes.get(node_id)
                chutes = {chute.name: chute.state for chute in node.state.chutes} if node else {}
                say("node", node_id, connected=node is not None, chutes=chutes)
        elif word == "install":
            nodes = [self.nodes[name] for name in rest[1:]] or self.nodes.values()
            await asyncio.gather(*(self.install(node, Path(rest[0])) for node in nodes))
        elif word == "call":
            service, _, name = rest[1].removeprefix("/").partition("/")
            method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
            reply_type = message_factory.GetMessageClass(method.output_type)
            async for reply in self.nodes[rest[0]].call(rest[1], b""):
                say("reply", rest[0], content=json_format.MessageToDict(reply_type.FromString(reply)))
        elif word == "watch":
            self.subscription = pb.Subscription(
                telemetry_interval_s=5, progress=True, detections=True, log_level="warning"
            )
            for node in self.nodes.values():
                await node.outgoing.put(pb.ConnectResponse(subscription=self.subscription))


def _tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


async def serve(listen: str, state: str, tokens: dict[str, str]) -> None:
    """Serves nodes and reads commands until standard input ends."""
    controller = Controller(Store(state), tokens)
    server = grpc.aio.server(options=[("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000)])
    controller_pb2_grpc.add_ControllerServiceServicer_to_server(controller, server)
    # For nodes on other networks: add_secure_port, with a certificate that they trust.
    server.add_insecure_port(listen)
    await server.start()
    say("listening", "", address=listen)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            await controller.command(line) if line.strip() else None
        except (RuntimeError, OSError, LookupError) as error:
            say("error", "", message=str(error))
    await server.stop(1)


def main() -> None:
    """Reads the arguments."""
    arguments = argparse.ArgumentParser(description="A small controller of Paradrop nodes.")
    arguments.add_argument("--listen", default="127.0.0.1:9400")
    arguments.add_argument("--state", default="fleet.sqlite3")
    arguments.add_argument("--tokens", type=Path, required=True)
    given = arguments.parse_args()
    asyncio.run(serve(given.listen, given.state, json.loads(given.tokens.read_text())))


if __name__ == "__main__":
    main()
