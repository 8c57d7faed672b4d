"""The description of the API for machines (`/openapi.json`). A test holds it together with the routes that exist."""

from typing import Any

from visitstats import __version__

_NUMBER = {"type": ["integer", "null"], "minimum": 0}
_NUMBERS = dict.fromkeys(("online", "today", "yesterday", "week", "month", "year", "total"), _NUMBER)
_BEACON = {
    "type": "object",
    "required": ["u"],
    "properties": {
        "u": {"type": "string", "description": "address of the page"},
        "k": {"type": "string", "description": "explicit key of the article"},
        "c": {"type": "string", "description": "canonical link"},
        "t": {"type": "string", "description": "title"},
        "r": {"type": "string", "description": "referrer; only its host is looked at"},
        "v": {"type": "string", "description": "visit id"},
        "h": {"type": "string", "description": "hit id: the same one twice counts once"},
        "m": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("author", "category", "published")},
        },
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    site = {"name": "site", "in": "path", "required": True, "schema": {"type": "string"}}

    def operation(
        summary: str, answer: str, *, body: Any = None, query: tuple[str, ...] = (), bearer: bool = False
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "summary": summary,
            "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query],
            "responses": {"200": _answer(answer), "default": _answer("Error")},
        }
        if body is not None:
            made["requestBody"] = {"content": {kind: {"schema": body} for kind in ("text/plain", "application/json")}}
        if bearer:
            made["security"] = [{"bearer": []}]
        return made

    hit = operation("Count a page load", "HitNumbers", body=_BEACON)
    hit["responses"]["202"] = _answer("HitNumbers")
    keys = {
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {"type": "string"}}},
    }
    paths = {
        "/v1/sites/{site}/hit": {"post": hit},
        "/v1/sites/{site}/hit.gif": {
            "get": operation("Count a page load without JavaScript", "Gif", query=("u", "k", "t", "v", "h", "r"))
        },
        "/v1/sites/{site}/alive": {
            "post": operation("Say that the page is still read", "Numbers", body={"type": "object"})
        },
        "/v1/sites/{site}/stats": {"get": operation("The numbers of a site", "Numbers")},
        "/v1/sites/{site}/views": {
            "get": operation("The views of articles", "Views", query=("key",)),
            "post": operation("The views of many articles", "Views", body=keys),
        },
        "/v1/admin/sites/{site}/articles": {
            "get": operation(
                "The articles of a period, the most read first",
                "Articles",
                query=("period", "limit", "format", "lang"),
                bearer=True,
            )
        },
        "/v1/admin/sites/{site}/key": {
            "get": operation(
                "How an address becomes its key, step by step", "Key", query=("url", "key", "canonical"), bearer=True
            )
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "visitstats", "version": __version__},
        "paths": {
            path: {"parameters": [site], **operations} if "{site}" in path else operations
            for path, operations in paths.items()
        },
        "components": {"schemas": _SCHEMAS, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _answer(schema: str) -> dict[str, Any]:
    if schema == "Gif":
        return {"description": "a picture of 43 bytes", "content": {"image/gif": {}}}
    return {
        "description": schema,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


_SCHEMAS: dict[str, Any] = {
    "Numbers": {
        "type": "object",
        "properties": {"site": {"type": "string"}, **_NUMBERS, "at": {"type": "string", "format": "date-time"}},
    },
    "HitNumbers": {
        "type": "object",
        "properties": {
            "site": {"type": "string"},
            **_NUMBERS,
            "views": _NUMBER,
            "key": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "pending": {"type": "boolean"},
        },
    },
    "Views": {
        "type": "object",
        "properties": {"views": {"type": "object", "additionalProperties": {"type": "integer"}}},
    },
    "Articles": {
        "type": "object",
        "properties": {
            "site": {"type": "string"},
            "period": {"type": "string"},
            "at": {"type": "string"},
            "articles": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Key": {
        "type": "object",
        "properties": {
            "site": {"type": "string"},
            "url": {"type": "string"},
            "key": {"type": ["string", "null"]},
            "refused": {
                "type": ["object", "null"],
                "properties": {"reason": {"type": "string"}, "detail": {"type": "string"}},
            },
            "steps": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        **{name: {"type": "string"} for name in ("rule", "before", "after", "note")},
                        "changed": {"type": "boolean"},
                    },
                },
            },
        },
    },
    "Error": {
        "type": "object",
        "required": ["error", "detail"],
        "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
    },
}
