"""The description of the API for machines (`/openapi.json`), made from the rows of the routes and the types in them."""

import re
from collections.abc import Iterable
from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec

from visitstats import __version__
from visitstats.core.numbers import TABLE, Numbers
from visitstats.web.table import ANY_PAGE, Asked, Reply, Route

_NAMED = "#/components/schemas/{name}"


class Problem(msgspec.Struct):
    """An error: a kebab-case code, and one line for a person."""

    error: str
    detail: str


class Description:
    """The handler. It describes the routes of the others and its own."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = (*routes, *self.ROUTES)

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(document(self._routes))

    async def openapi(self, asked: Asked[None, None]) -> Reply:
        """Answer the OpenAPI document."""
        return Reply(self._document)

    ROUTES = (Route("GET", "/openapi.json", openapi, "This description", "application/json", headers=ANY_PAGE),)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe those of the routes that are part of the API, as OpenAPI 3.1."""
    rows = [route for route in routes if route.answer is not None]
    types = [kind for row in rows for kind in (row.answer, row.query, row.body) if kind and not isinstance(kind, str)]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_NAMED)
    for kind in types:
        if issubclass(kind, Numbers):
            for name, about in TABLE.items():
                schemas[kind.__name__]["properties"][name]["description"] = about.text
    paths: dict[str, Any] = {}
    for row in rows:
        path = paths.setdefault(row.path, {})
        operation = _operation(row, schemas)
        # One path may be two rows: the second answers those requests to which the first does not apply.
        path[row.method.lower()] = (
            _joined(path[row.method.lower()], operation) if row.method.lower() in path else operation
        )
    used = {name for name in schemas if name not in {row.query.__name__ for row in rows if row.query}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "visitstats", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(used)},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(row: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = row.answer
    made: dict[str, Any] = {
        "summary": row.summary,
        "parameters": [*_in_path(row.path), *_in_query(row, schemas)],
        "responses": {str(status): _content(answer, HTTPStatus(status).phrase) for status in row.statuses}
        | {"default": _content(Problem, "refused, or not possible just now")},
    }
    if row.body is not None:
        kinds = ("text/plain", "application/json") if row.scope is None else ("application/json",)
        made["requestBody"] = {"required": True, "content": {kind: _schema(row.body) for kind in kinds}}
    if row.scope is not None:
        made["description"] = f"Needs a token of the scope {row.scope}, or of one that includes it."
        made["security"] = [{"bearer": []}]
    return made


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Describe two rows of one method and path as one operation: what the second needs is said in its parameters."""
    responses = dict(first["responses"])
    for status, response in second["responses"].items():
        if status != "default":
            both = [each["content"]["application/json"]["schema"] for each in (responses[status], response)]
            responses[status] = {**response, "content": {"application/json": {"schema": {"anyOf": both}}}}
    named = {each["name"] for each in first["parameters"]}
    more = [each for each in second["parameters"] if each["name"] not in named]
    return {**first, "parameters": [*first["parameters"], *more], "responses": responses}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(row: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    schema = schemas[row.query.__name__]
    found = []
    for name, about in schema["properties"].items():
        rest = {key: value for key, value in about.items() if key != "description"}
        described = {"description": about["description"]} if "description" in about else {}
        required = name in schema.get("required", ())
        found.append({"name": name, "in": "query", **described, "required": required, "schema": rest})
    return found


def _content(answer: Any, description: str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"description": description, "content": {answer.partition(";")[0]: {}}}
    return {"description": description, "content": {"application/json": _schema(answer)}}


def _schema(kind: Any) -> dict[str, Any]:
    return {"schema": {"$ref": _NAMED.format(name=kind.__name__)}}
