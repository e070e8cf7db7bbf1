"""The reference of the API, read from the descriptors and their comments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from gateway.comments import (
    ENUM_VALUE,
    FILE_ENUM,
    FILE_MESSAGE,
    FILE_SERVICE,
    MESSAGE_ENUM,
    MESSAGE_FIELD,
    MESSAGE_NESTED,
    SERVICE_METHOD,
    Path,
    comments_of,
)
from gateway.descriptors import PACKAGE, http_bindings
from services.common.access import ACCESS, Access


@dataclass(frozen=True, slots=True)
class Entry:
    """A field of a message or a value of an enum."""

    name: str
    type: str
    link: str
    """Full name of the type if the reference explains it, else ""."""
    comment: str


@dataclass(frozen=True, slots=True)
class Type:
    """A message or an enum."""

    name: str
    comment: str
    entries: list[Entry]
    is_enum: bool = False


@dataclass(frozen=True, slots=True)
class Rpc:
    """An RPC and its REST paths."""

    name: str
    comment: str
    request: str
    response: str
    client_streaming: bool
    server_streaming: bool
    access: str
    http: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service."""

    name: str
    comment: str
    rpcs: list[Rpc]


@dataclass(frozen=True, slots=True)
class Reference:
    """Everything the reference page shows."""

    services: list[Service] = field(default_factory=list)
    types: list[Type] = field(default_factory=list)


def build(files: FileDescriptorSet) -> Reference:
    """Reads the reference of our packages."""
    http: dict[str, list[tuple[str, str]]] = {}
    for binding in http_bindings(files):
        http.setdefault(binding.rpc, []).append((binding.method, binding.template))
    reference = Reference()
    for file in files.file:
        if not (PACKAGE.fullmatch(file.package) or file.package.startswith("paradrop.type.")):
            continue
        comments = comments_of(file)
        for index, service in enumerate(file.service):
            path = (FILE_SERVICE, index)
            reference.services.append(_service(service, file.package, path, comments, http))
        reference.types.extend(_types(file, comments))
    reference.services.sort(key=lambda service: service.name)
    reference.types.sort(key=lambda type_: type_.name)
    return reference


Comments = Mapping[Path, str]


def _service(
    service: ServiceDescriptorProto,
    package: str,
    path: Path,
    comments: Comments,
    http: Mapping[str, list[tuple[str, str]]],
) -> Service:
    name = f"{package}.{service.name}"
    return Service(
        name,
        comments.get(path, ""),
        [
            _rpc(method, name, comments.get((*path, SERVICE_METHOD, index), ""), http)
            for index, method in enumerate(service.method)
        ],
    )


def _rpc(
    method: MethodDescriptorProto, service: str, comment: str, http: Mapping[str, list[tuple[str, str]]]
) -> Rpc:
    return Rpc(
        name=method.name,
        comment=comment,
        request=method.input_type.lstrip("."),
        response=method.output_type.lstrip("."),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        access=access_words(ACCESS.get(f"/{service}/{method.name}", Access())),
        http=http.get(f"{service}.{method.name}", []),
    )


def access_words(access: Access) -> str:
    """Says who may make a call."""
    if access.public:
        return "no token"
    if not access.users:
        return "the node's services"
    role = f"role {access.role.name.lower()}"
    return f"{role} or a chute's token" if access.chutes else role


def _types(file: FileDescriptorProto, comments: Comments) -> Iterator[Type]:
    for index, message in enumerate(file.message_type):
        yield from _message(message, file.package, (FILE_MESSAGE, index), comments)
    for index, enum in enumerate(file.enum_type):
        yield _enum(enum, file.package, (FILE_ENUM, index), comments)


def _message(message: DescriptorProto, scope: str, path: Path, comments: Comments) -> Iterator[Type]:
    if message.options.map_entry:
        return
    name = f"{scope}.{message.name}"
    maps = {f".{name}.{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
    entries = [
        _field(item, maps, comments.get((*path, MESSAGE_FIELD, index), ""))
        for index, item in enumerate(message.field)
    ]
    yield Type(name, comments.get(path, ""), entries)
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, name, (*path, MESSAGE_NESTED, index), comments)
    for index, enum in enumerate(message.enum_type):
        yield _enum(enum, name, (*path, MESSAGE_ENUM, index), comments)


def _field(item: FieldDescriptorProto, maps: Mapping[str, DescriptorProto], comment: str) -> Entry:
    if item.type_name in maps:
        key, value = maps[item.type_name].field
        text, link = f"map<{_type(key)[0]}, {_type(value)[0]}>", _type(value)[1]
    else:
        text, link = _type(item)
        if item.label == FieldDescriptorProto.LABEL_REPEATED:
            text = f"repeated {text}"
        elif item.proto3_optional:
            text = f"optional {text}"
    name = item.name if item.json_name == item.name else f"{item.name} ({item.json_name})"
    return Entry(name, text, link, comment)


def _type(item: FieldDescriptorProto) -> tuple[str, str]:
    if not item.type_name:
        return FieldDescriptorProto.Type.Name(item.type).removeprefix("TYPE_").lower(), ""
    full = item.type_name.lstrip(".")
    if full.startswith("paradrop."):
        return full.split(".v1.", 1)[-1], full
    return full.rpartition(".")[2], ""


def _enum(enum: EnumDescriptorProto, scope: str, path: Path, comments: Comments) -> Type:
    values = [
        Entry(value.name, str(value.number), "", comments.get((*path, ENUM_VALUE, index), ""))
        for index, value in enumerate(enum.value)
    ]
    return Type(f"{scope}.{enum.name}", comments.get(path, ""), values, is_enum=True)
