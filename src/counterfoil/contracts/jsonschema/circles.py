"""References that lead back to their own schema for the same instance, such as `{"not": {"$ref": "#"}}`.

The specification gives such a schema no meaning, and validators differ. A reference from inside a property or an item is
another matter: it applies to a smaller instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.contracts.json_parts import as_list, as_map
from counterfoil.contracts.jsonschema.document import SchemaDocument


def leads_back(document: SchemaDocument, schema: Any) -> bool:
    """Return true if a schema, applied to an instance, applies itself to the same instance."""
    pending, visited = [schema], set[int]()
    while pending:
        node = pending.pop()
        if node is schema and visited:
            return True
        if isinstance(node, dict) and id(node) not in visited:
            visited.add(id(node))
            pending.extend(_same_instance(document, node))
    return False


def _same_instance(document: SchemaDocument, schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas that a schema applies to the same instance."""
    for name in ("$ref", "$dynamicRef", "$recursiveRef"):
        if isinstance(schema.get(name), str):
            yield document.resolve(document.absolute(schema[name], schema))
    if "$ref" in schema and document.draft <= 7:
        return
    for name in ("allOf", "anyOf", "oneOf"):
        yield from as_list(schema.get(name))
    for name in ("not", "if", "then", "else"):
        yield schema.get(name)
    for name in ("dependentSchemas", "dependencies"):
        yield from as_map(schema.get(name)).values()
