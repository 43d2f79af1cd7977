"""The OpenAPI document, made of the endpoints and their structs: what it says is what is checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kassa import __version__
from kassa.api.auth import ANY_KEY, PUBLIC
from kassa.api.endpoint import Endpoint
from kassa.api.errors import TITLES, Problem

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_KEY_HEADER: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body gives the first answer again; kept for at least 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_ID_LENGTH = 33


def document(endpoints: Sequence[Endpoint], public_url: str) -> bytes:
    """Return the OpenAPI 3.1 document of endpoints as JSON."""
    paths: dict[str, Json] = {}
    types: list[Any] = [Problem]
    for endpoint in endpoints:
        types += [each for each in (endpoint.body, endpoint.result) if each is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(map(_name, types), schemas, strict=True))
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Kassa",
                "version": __version__,
                "description": "Self-hosted crypto payments. Amounts are decimal strings, times RFC 3339 in UTC.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": public_url}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "kassa_live_… or kassa_test_…; one that is bound to networks is refused from"
                        " anywhere else: 403, `address_not_allowed`.",
                    }
                },
            },
        }
    )


def statuses(endpoint: Endpoint) -> tuple[int, ...]:
    """Return every status of an error that an endpoint can answer with."""
    found = {400, 401, 403, 422, 429, 503}
    found |= {404} if endpoint.id_of else set()
    found |= {413, 415} if endpoint.writes else set()
    found |= {409} if endpoint.repeatable or endpoint.conflicts else set()
    return tuple(sorted(found - ({401, 403} if endpoint.access == PUBLIC else set())))


def _operation(endpoint: Endpoint, schemas: Mapping[str, Json]) -> Json:
    answer: Json = {"description": endpoint.summary}
    if endpoint.result is not None:
        answer["content"] = {"application/json": {"schema": schemas[_name(endpoint.result)]}}
    problem = {"application/problem+json": {"schema": schemas[_name(Problem)]}}
    operation: Json = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": _rights(endpoint),
        "tags": [endpoint.path.split("/")[2]],
        "parameters": [*_path(endpoint), *_query(endpoint), *([_KEY_HEADER] if endpoint.repeatable else [])],
        "responses": {
            str(endpoint.status): answer,
            **{str(status): {"description": TITLES[status], "content": problem} for status in statuses(endpoint)},
        },
        "x-access": endpoint.access,
    }
    if endpoint.body is not None:
        content: Json = {"schema": schemas[_name(endpoint.body)]}
        if endpoint.example is not None:
            content["example"] = endpoint.example
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _rights(endpoint: Endpoint) -> str:
    if endpoint.access == ANY_KEY:
        return "Any key of the store."
    return f"Needs the scope `{endpoint.access}`."


def _path(endpoint: Endpoint) -> list[Json]:
    if endpoint.id_of is None:
        return []
    schema = {
        "type": "string",
        "minLength": _ID_LENGTH,
        "maxLength": _ID_LENGTH,
        "pattern": f"^{endpoint.id_of}_[0-9a-z]+$",
    }
    return [{"name": "id", "in": "path", "required": True, "schema": schema}]


def _query(endpoint: Endpoint) -> list[Json]:
    if endpoint.query is None:
        return []
    (_,), components = msgspec.json.schema_components([endpoint.query], ref_template=_REF)
    schema = components[endpoint.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
        for name, one in schema["properties"].items()
    ]


def _without_null(schema: Json) -> Json:
    # A query parameter is given or not; null is not a value it can have.
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return dict(kinds[0])
    return {name: value for name, value in schema.items() if name != "default" or value is not None}


def _name(kind: Any) -> str:  # a struct, or a generic one with its argument
    return str(kind)
