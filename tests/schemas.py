"""As much of JSON Schema as our description of the API uses: does a value fit, and what might one be."""

from __future__ import annotations

import json
import random
from typing import Any

KNOWN = frozenset(
    """
    $ref type properties required items anyOf enum const additionalProperties minimum maximum minItems maxItems
    minLength maxLength pattern format default description title prefixItems
    """.split()
)
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip
ODD = (
    "",
    "0",
    "-1",
    "a" * 600,
    "Lễ hội",
    "2026-11-24",
    "2026-13",
    "all",
    "\u0000",
    "%",
    "'\"<",
    "9" * 30,
    "null",
    "vi",
)


class Schemas:
    """The schemas of a description."""

    def __init__(self, document: dict[str, Any], draw: random.Random) -> None:
        self._named: dict[str, Any] = document["components"]["schemas"]
        self._draw = draw

    def misfit(self, value: Any, schema: dict[str, Any], where: str = "$") -> str:
        """What of a value does not fit, and where; nothing when all does."""
        schema = self._resolved(schema)
        unknown = schema.keys() - KNOWN
        assert not unknown, f"{where}: this test does not know {unknown}"
        if options := schema.get("anyOf"):
            found = [self.misfit(value, option, where) for option in options]
            return "" if "" in found else found[0]
        wanted = schema.get("type")
        kinds = wanted if isinstance(wanted, list) else [wanted] if wanted else []
        if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
            return f"{where}: {value!r} is no {wanted}"
        if isinstance(value, bool) and kinds and "boolean" not in kinds:
            return f"{where}: {value!r} is no {wanted}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{where}: {value!r} is none of {schema['enum']}"
        if isinstance(value, dict):
            return self._misfit_of_object(value, schema, where)
        if isinstance(value, list) and "items" in schema and schema["items"] is not False:
            found = [self.misfit(each, schema["items"], f"{where}[{n}]") for n, each in enumerate(value)]
            return next(filter(None, found), "")
        return ""

    def _misfit_of_object(self, value: dict[str, Any], schema: dict[str, Any], where: str) -> str:
        properties = schema.get("properties", {})
        if missing := [name for name in schema.get("required", ()) if name not in value]:
            return f"{where}: {missing} are missing"
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            inner = properties.get(name, others)
            if inner is False or (properties and name not in properties and others is True):
                return f"{where}: {name} is not described"
            if isinstance(inner, dict) and (found := self.misfit(each, inner, f"{where}.{name}")):
                return found
        return ""

    def some(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """Draw a value that fits a schema, or nearly: texts are of all kinds."""
        schema, draw = self._resolved(schema), self._draw
        if "anyOf" in schema:
            return self.some(draw.choice(schema["anyOf"]), depth)
        if "enum" in schema:
            return draw.choice(schema["enum"])
        kind = schema.get("type", "string")
        kind = draw.choice(kind) if isinstance(kind, list) else kind
        if kind == "integer":
            low = int(schema.get("minimum", 0))
            return draw.choice([low, low + 1, int(schema.get("maximum", low + 50)), low + draw.randrange(9)])
        if kind == "array":
            return [self.some(schema.get("items") or {}, depth + 1) for _ in range(draw.randrange(3))]
        if kind == "object":
            names = schema.get("properties", {})
            wanted = [
                name for name in names if name in schema.get("required", ()) or (depth < 3 and draw.random() < 0.4)
            ]
            return {name: self.some(names[name], depth + 1) for name in wanted}
        return {"boolean": draw.random() < 0.5, "null": None, "number": 1.5}.get(kind, draw.choice(ODD))

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._named[schema["$ref"].rpartition("/")[2]]
        return schema


def body(value: Any) -> str:
    """Write a value as JSON."""
    return json.dumps(value, ensure_ascii=False)
