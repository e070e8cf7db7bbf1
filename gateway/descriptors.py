"""Reads the descriptors of all services, and makes the copy of them that Envoy can serve.

Envoy 1.40 refuses to start with `response_body` on a normal field (its issue 11136). In Envoy's copy the
option is therefore taken out, and every field of such a reply but the wanted one as well: what the transcoder
writes is then exactly `{"field":value}`, and the Lua filter cuts the value out of it. Delete
`_without_response_body`, `HttpBinding.unwrap` and the cutting in `filter.lua` the day Envoy learns it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from services.common.settings import SERVICES

PACKAGE = re.compile(r"paradrop\.([a-z]+)\.v\d+")
VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]*)?\}")
FREE_TYPES = {f".google.protobuf.{name}" for name in ("Struct", "Value", "ListValue")}
TERMS = ("dry_run", "force", "keep_data")
"""Fields of a body that may be given in the query as well: dropped there, they would do harm."""


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """One HTTP method and path of an RPC, as its annotation says."""

    rpc: str
    """Full name, such as "paradrop.chutes.v1.ChuteService.GetChute"."""
    service: str
    """Which of our services answers, such as "chutes"."""
    method: str
    template: str
    body: str
    """Field that the body fills; "*" for the whole request, "" for none."""
    body_shape: str
    """"object" or "array" if the body must be one, else ""."""
    body_keys: tuple[str, ...]
    """Keys that a body may have; empty if it may have any."""
    body_is_flat: bool
    """Whether no list may have lists or null in it, as the body holds no document that is free."""
    query_keys: tuple[str, ...]
    """Query parameters that may be given: fields of the request that neither path nor body fills."""
    unwrap: str
    """Key of the reply whose value is the whole answer; "" if the reply is the answer."""
    client_streaming: bool
    server_streaming: bool

    @property
    def reads_body(self) -> bool:
        """Whether the call looks at its body: what takes nothing looks at nothing."""
        return bool(self.body_keys) if self.body == "*" else bool(self.body)

    @property
    def variables(self) -> tuple[str, ...]:
        """Fields that the path fills."""
        return tuple(VARIABLE.findall(self.template))


def load() -> FileDescriptorSet:
    """Returns the descriptors that were generated with the code, comments included."""
    content = resources.files("paradrop").joinpath("descriptors.binpb").read_bytes()
    return FileDescriptorSet.FromString(content)


def services(files: FileDescriptorSet) -> dict[str, str]:
    """Returns the full names of our gRPC services with the name of the process that answers.

    Without those of packages that are no process of a node: what controllers implement, and what each process
    offers to its neighbours alone.
    """
    found: dict[str, str] = {}
    for file in files.file:
        match = PACKAGE.fullmatch(file.package)
        if match and match[1] in SERVICES:
            found |= {f"{file.package}.{service.name}": match[1] for service in file.service}
    return found


def http_bindings(files: FileDescriptorSet) -> list[HttpBinding]:
    """Returns all HTTP bindings of our services in the order of the protos."""
    messages = _messages(files)
    return [
        _binding(messages, f"{file.package}.{service.name}", method, rule)
        for file in files.file
        if PACKAGE.fullmatch(file.package)
        for service in file.service
        for method in service.method
        for rule in _rules(method)
    ]


def for_envoy(files: FileDescriptorSet) -> FileDescriptorSet:
    """Returns the copy for Envoy: without comments, and without what Envoy refuses."""
    copy = FileDescriptorSet()
    copy.CopyFrom(files)
    messages = _messages(copy)
    for file in copy.file:
        file.ClearField("source_code_info")
        for service in file.service:
            for method in service.method:
                _without_response_body(method, messages)
    return copy


def _without_response_body(
    method: descriptor_pb2.MethodDescriptorProto, messages: dict[str, descriptor_pb2.DescriptorProto]
) -> None:
    for rule in _rules(method):
        if rule.response_body:
            reply = messages[method.output_type]
            kept = [field for field in reply.field if field.name == rule.response_body]
            if not kept:
                raise ValueError(f"{method.name}: two bindings unwrap different fields of {reply.name}")
            del reply.field[:]
            reply.field.extend(kept)
            rule.ClearField("response_body")


def _rules(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[http_pb2.HttpRule]:
    if method.options.HasExtension(annotations_pb2.http):
        rule = method.options.Extensions[annotations_pb2.http]
        yield rule
        yield from rule.additional_bindings


def _messages(files: FileDescriptorSet) -> dict[str, descriptor_pb2.DescriptorProto]:
    found: dict[str, descriptor_pb2.DescriptorProto] = {}

    def add(scope: str, messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
        for message in messages:
            found[f"{scope}.{message.name}"] = message
            add(f"{scope}.{message.name}", message.nested_type)

    for file in files.file:
        add(f".{file.package}", file.message_type)
    return found


def _binding(
    messages: dict[str, descriptor_pb2.DescriptorProto],
    service: str,
    method: descriptor_pb2.MethodDescriptorProto,
    rule: http_pb2.HttpRule,
) -> HttpBinding:
    verb = rule.WhichOneof("pattern") or ""
    template = getattr(rule, verb)
    if verb == "custom":
        verb, template = rule.custom.kind, rule.custom.path
    request = messages[method.input_type].field
    in_path = set(VARIABLE.findall(template))
    others = [field for field in request if field.name not in in_path]
    match = PACKAGE.match(service)
    reply = {field.name: field for field in messages[method.output_type].field}
    return HttpBinding(
        rpc=f"{service}.{method.name}",
        service=match[1] if match else "",
        method=verb.upper(),
        template=template,
        body=rule.body,
        body_shape=_shape(rule.body, request),
        body_keys=_body_keys(rule.body, others, messages),
        body_is_flat=not _is_free(method.input_type, messages, set()),
        query_keys=_keys(_in_query(rule.body, others)),
        unwrap=reply[rule.response_body].json_name if rule.response_body else "",
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
    )


def _body_keys(
    body: str,
    fields: list[FieldDescriptorProto],
    messages: dict[str, descriptor_pb2.DescriptorProto],
) -> tuple[str, ...]:
    if body == "*":
        return _keys(fields)
    bound = next((field.type_name for field in fields if field.name == body), "")
    # Google's are free documents.
    return (
        _keys(list(messages[bound].field)) if bound in messages and not bound.startswith(".google.") else ()
    )


def _shape(body: str, request: Iterable[FieldDescriptorProto]) -> str:
    if body in ("", "*"):
        return "object" if body else ""
    field = next(field for field in request if field.name == body)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "array"
    # A Value may be anything.
    is_object = (
        field.type == FieldDescriptorProto.TYPE_MESSAGE and field.type_name != ".google.protobuf.Value"
    )
    return "object" if is_object else ""


def _is_free(type_name: str, messages: dict[str, descriptor_pb2.DescriptorProto], seen: set[str]) -> bool:
    if type_name in seen or type_name not in messages:
        return False
    seen.add(type_name)
    return type_name in FREE_TYPES or any(
        _is_free(field.type_name, messages, seen) for field in messages[type_name].field
    )


def _in_query(body: str, fields: Iterable[FieldDescriptorProto]) -> Iterator[FieldDescriptorProto]:
    for field in fields:
        if field.name != body and (field.name in TERMS if body == "*" else _scalar(field)):
            yield field


def _keys(fields: Iterator[FieldDescriptorProto] | list[FieldDescriptorProto]) -> tuple[str, ...]:
    # JSON readers accept both spellings of a field.
    return tuple(dict.fromkeys(name for field in fields for name in (field.name, field.json_name)))


def _scalar(field: FieldDescriptorProto) -> bool:
    # A time is a text in JSON.
    return field.type != FieldDescriptorProto.TYPE_MESSAGE or field.type_name == ".google.protobuf.Timestamp"
