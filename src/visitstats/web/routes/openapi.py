"""The description of the API for machines (`/openapi.json`). A test holds it together with the routes that exist."""

from typing import Any

from visitstats import __version__
from visitstats.core.numbers import COUNTS, TABLE

_NUMBER = {"type": ["integer", "null"], "minimum": 0}
_DATE = {"type": ["string", "null"], "format": "date"}
_NUMBERS = {name: (_NUMBER if name in COUNTS else _DATE) | {"description": about.text} for name, about in TABLE.items()}
_BEACON = {
    "type": "object",
    "required": ["u"],
    "properties": {
        "u": {"type": "string", "description": "address of the page"},
        "k": {"type": "string", "description": "explicit key of the article"},
        "c": {"type": "string", "description": "canonical link"},
        "t": {"type": "string", "description": "title"},
        "r": {"type": "string", "description": "referrer; checked, and not kept"},
        "v": {"type": "string", "description": "visit id"},
        "h": {"type": "string", "description": "hit id: the same one twice counts once"},
        "w": {"type": "boolean", "description": "whether a program drives the browser"},
        "m": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("author", "category", "published")},
        },
    },
}

_MERGE = {
    "type": "object",
    "required": ["from", "into"],
    "properties": {
        "from": {"type": "string", "description": "key or address that is to stand for the other"},
        "into": {"type": "string", "description": "key or address of the article that stays"},
        "why": {"type": "string"},
        "alias": {"type": "boolean", "description": "nothing was counted for `from` yet"},
    },
}
_UNDO = {
    "type": "object",
    "required": ["change"],
    "properties": {"change": {"type": "string", "description": "id of the merge"}, "why": {"type": "string"}},
}


_BOX = ("preset", "lines", "labels", "title", "format", "structure", "theme", "lang")


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
    hit["parameters"] = [
        {
            "name": "explain",
            "in": "query",
            "schema": {"type": "string"},
            "description": "1, with the token of an editor: say what each rule makes of it, and count nothing",
        }
    ]
    keys = {
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {"type": "string"}}},
    }
    paths = {
        "/v1/sites/{site}/hit": {"post": hit},
        "/v1/sites/{site}/hit.gif": {
            "get": operation("Count a page load without JavaScript", "Gif", query=("u", "k", "t", "v", "h", "r", "w"))
        },
        "/v1/sites/{site}/alive": {
            "post": operation("Say that the page is still read", "Numbers", body={"type": "object"})
        },
        "/v1/sites/{site}/stats": {"get": operation("The numbers of a site", "Numbers")},
        "/v1/sites/{site}/views": {
            "get": operation("The views of articles", "Views", query=("key",)),
            "post": operation("The views of many articles", "Views", body=keys),
        },
        "/v1/sites/{site}/box": {
            "get": operation("The box as a page for a frame", "text/html; charset=utf-8", query=_BOX)
        },
        "/v1/sites/{site}/box.svg": {"get": operation("The box as a picture", "image/svg+xml", query=(*_BOX, "width"))},
        "/v1/sites/{site}/badge.json": {"get": operation("What a badge says", "Badge", query=("line", *_BOX))},
        "/v1/sites/{site}/top": {"get": operation("The most read articles", "Articles", query=("period", "limit"))},
        "/v1/sites/{site}/live": {"get": operation("The numbers as they change", "Events")},
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
    for action, summary, body in (("merge", "Merge an article into another", _MERGE), ("undo", "Undo it", _UNDO)):
        change = operation(summary, "Changed", body=body, bearer=True)
        change["responses"]["202"] = _answer("Changed")
        paths[f"/v1/admin/sites/{{site}}/{action}"] = {"post": change}
    paths |= {
        f"/v1/admin/sites/{{site}}/{action}": {"get": operation(summary, schema, query=query, bearer=True)}
        for action, summary, schema, query in (
            ("ignored", "What was not counted on a day, by reason", "Ignored", ("day",)),
            ("uniques", "Unique visitors of a period, estimates", "Uniques", ("period", "day")),
        )
    }
    paths["/v1/admin/sites/{site}/audit"] = {
        "get": operation("What was changed by hand", "Changes", query=("limit",), bearer=True)
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
    if schema == "Events":
        return {"description": "server-sent events, each a Numbers", "content": {"text/event-stream": {}}}
    if schema == "Gif":
        return {"description": "a picture of 43 bytes", "content": {"image/gif": {}}}
    if "/" in schema:
        return {"description": "text", "content": {schema.partition(";")[0]: {}}}
    return {
        "description": schema,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


_CHANGE = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("id", "kind", "at", "who", "why", "from", "into")},
        "views": {"type": ["integer", "null"]},
        "undoes": {"type": ["string", "null"]},
        "undone_by": {"type": ["string", "null"]},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_SCHEMAS: dict[str, Any] = {
    "Ignored": {
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in ("site", "day", "at")},
            "ignored": _COUNTS,
            "search_engines": {"type": "integer"},
            "visitors_capped": {"type": "integer"},
        },
    },
    "Uniques": {
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in ("site", "period", "at")},
            "uniques": {"type": "integer"},
            "estimate": {"const": True},
            "standard_error_percent": {"type": "number"},
            "days": _COUNTS,
        },
    },
    "Badge": {
        "type": "object",
        "properties": {
            **{name: {"type": "integer"} for name in ("schemaVersion", "cacheSeconds")},
            **{name: {"type": "string"} for name in ("label", "message", "color")},
        },
    },
    "Changed": {"type": "object", "properties": {"site": {"type": "string"}, "change": _CHANGE}},
    "Changes": {
        "type": "object",
        "properties": {"site": {"type": "string"}, "changes": {"type": "array", "items": _CHANGE}},
    },
    "Numbers": {
        "type": "object",
        "properties": {
            "site": {"type": "string"},
            **_NUMBERS,
            "at": {"type": "string", "format": "date-time"},
        },
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
            **{name: {"type": "string", "format": "date-time"} for name in ("at", "order_at")},
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
