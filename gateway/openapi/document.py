"""Puts the paths, their parameters, bodies and answers together."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto

from gateway.bridge.reference import access_words
from gateway.comments import FILE_SERVICE, SERVICE_METHOD, comments_of
from gateway.descriptors import PACKAGE, VARIABLE, HttpBinding, http_bindings
from gateway.openapi.schemas import Schema, Schemas, is_required
from gateway.routes import ARCHIVE_TYPE, DOWNLOAD_RPCS, upload_types
from services.common.access import ACCESS, Access

JSON = "application/json"
NDJSON = "application/x-ndjson"
HTTP_BODY = ".google.api.HttpBody"
ERRORS = {
    "400": "The request is wrong; the details name the field.",
    "401": "There is no token, or it is not valid any more.",
    "403": "The caller may not do this.",
    "404": "What the path names is not there.",
    "409": "It conflicts with what is there or with what happens now.",
    "413": "The body is too large.",
    "415": "The body has another type than this path takes.",
    "429": "Too much at a time; Retry-After says how long to wait.",
    "500": "The node met an unexpected error; its log has the details.",
    "501": "This part of the node is not built.",
    "503": "A part of the node does not answer now, such as the Docker engine or a radio.",
    "507": "The disk of the node is full.",
}


@dataclass(frozen=True, slots=True)
class _Rpc:
    method: MethodDescriptorProto
    comment: str


def build(files: FileDescriptorSet, version: str) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of all paths under /api/v1."""
    schemas = Schemas(files)
    rpcs = dict(_rpcs(files))
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, str] = dict(_tags(files))
    bindings = Counter[str]()
    for binding in http_bindings(files):
        operations = paths.setdefault(VARIABLE.sub(r"{\1}", binding.template), {})
        operation = _operation(binding, rpcs[binding.rpc], schemas)
        bindings[binding.rpc] += 1
        if bindings[binding.rpc] > 1:
            operation["operationId"] += str(bindings[binding.rpc])
        known = operations.setdefault(binding.method.lower(), operation)
        if known is not operation:
            # An upload shares its path with a JSON call.
            known["requestBody"]["content"] |= operation["requestBody"]["content"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paradrop",
            "version": version,
            "description": "The JSON interface of a Paradrop node. Everything here is a gRPC method as well.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}],
        "tags": [{"name": name, "description": text} for name, text in sorted(tags.items())],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components(),
            "responses": {f"E{status}": _error(text) for status, text in ERRORS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _rpcs(files: FileDescriptorSet) -> Iterator[tuple[str, _Rpc]]:
    for file in files.file:
        comments = comments_of(file)
        for number, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                comment = comments.get((FILE_SERVICE, number, SERVICE_METHOD, index), "")
                yield f"{file.package}.{service.name}.{method.name}", _Rpc(method, comment)


def _tags(files: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in files.file:
        if PACKAGE.fullmatch(file.package):
            comments = comments_of(file)
            for number, service in enumerate(file.service):
                yield service.name, comments.get((FILE_SERVICE, number), "")


def _operation(binding: HttpBinding, rpc: _Rpc, schemas: Schemas) -> dict[str, Any]:
    service, _, name = binding.rpc.rpartition(".")
    access = ACCESS.get(f"/{service}/{name}", Access())
    summary, _, _rest = rpc.comment.partition("\n")
    operation: dict[str, Any] = {
        "operationId": f"{service.rpartition('.')[2]}_{name}",
        "tags": [service.rpartition(".")[2]],
        "summary": summary.rstrip("."),
        "description": f"{rpc.comment}\n\nNeeds: {access_words(access)}.",
        "parameters": [*_path_parameters(binding, rpc, schemas), *_query_parameters(binding, rpc, schemas)],
        "responses": {"200": _answer(binding, rpc, schemas)}
        | {status: {"$ref": f"#/components/responses/E{status}"} for status in ERRORS},
    }
    if access.public:
        operation["security"] = []
    if body := _body(binding, rpc, schemas):
        operation["requestBody"] = body
    return operation


def _path_parameters(binding: HttpBinding, rpc: _Rpc, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for name in binding.variables:
        field = _field(schemas, rpc, name)
        schema = schemas.value(field)
        if schema == {"type": "string"}:
            # A segment of a path is never empty and cannot hold a slash.
            schema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
        yield _parameter(
            name, "path", schema, schemas.field_comment(rpc.method.input_type, name), required=True
        )


def _query_parameters(binding: HttpBinding, rpc: _Rpc, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for field in schemas.message(rpc.method.input_type).field:
        if field.json_name in binding.query_keys and field.name not in binding.variables:
            comment = schemas.field_comment(rpc.method.input_type, field.name)
            schema, required = schemas.field(field), is_required(field)
            yield _parameter(field.json_name, "query", schema, comment, required=required)


def _parameter(name: str, place: str, schema: Schema, comment: str, *, required: bool) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "required": required, "schema": schema}
    return parameter | {"description": comment} if comment else parameter


def _body(binding: HttpBinding, rpc: _Rpc, schemas: Schemas) -> dict[str, Any] | None:
    if binding.client_streaming:
        file: Schema = {"type": "string", "format": "binary"}
        content = {kind: {"schema": {**file, "contentMediaType": kind}} for kind in upload_types(binding)}
        return {"required": True, "content": content}
    if not binding.reads_body:
        return None
    if binding.body != "*":
        field = _field(schemas, rpc, binding.body)
        whole = schemas.field(field)
        if "$ref" in whole:
            whole = schemas.request(field.type_name) | {"additionalProperties": not binding.body_keys}
        needed = "items" in whole or bool(whole.get("required"))
        return {"required": needed, "content": {JSON: {"schema": whole}}}
    # What may be in the query as well is told there: given twice, it has to be the same.
    elsewhere = {*binding.variables, *binding.query_keys}
    schema = schemas.request(rpc.method.input_type, lambda field: field.name not in elsewhere)
    if not schema["properties"]:
        return None
    required = bool(schema.get("required"))
    return {"required": required, "content": {JSON: {"schema": schema | {"additionalProperties": False}}}}


def _answer(binding: HttpBinding, rpc: _Rpc, schemas: Schemas) -> dict[str, Any]:
    if binding.rpc in DOWNLOAD_RPCS:
        archive: Schema = {"type": "string", "contentMediaType": ARCHIVE_TYPE}
        return {"description": "The file.", "content": {ARCHIVE_TYPE: {"schema": archive}}}
    if rpc.method.output_type == HTTP_BODY:
        return {"description": "The content.", "content": {"*/*": {}}}
    if binding.unwrap:
        reply = schemas.message(rpc.method.output_type)
        field = next(field for field in reply.field if field.json_name == binding.unwrap)
        schema = schemas.field(field)
    else:
        schema = schemas.reference(rpc.method.output_type)
    if binding.server_streaming:
        text = "One JSON object a line; the last one holds `end` with the reason."
        return {"description": text, "content": {JSON: {"schema": {}, "x-line-schema": schema}}}
    return {"description": "Done.", "content": {JSON: {"schema": schema}}}


def _field(schemas: Schemas, rpc: _Rpc, name: str) -> FieldDescriptorProto:
    return next(field for field in schemas.message(rpc.method.input_type).field if field.name == name)


def _error(text: str) -> Mapping[str, Any]:
    return {
        "description": text,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
