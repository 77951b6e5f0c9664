"""Swagger 2.0 converted to OpenAPI 3.0: body parameters, media type lists and definitions take their 3.0 form."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import Node, as_list, as_map, reference_of
from counterfoil.contracts.openapi.document import METHODS

_SECTIONS = {
    "#/definitions/": "#/components/schemas/",
    "#/parameters/": "#/components/parameters/",
    "#/responses/": "#/components/responses/",
}
_SCHEMA_KEYS = ("type", "format", "enum", "items", "default", "minimum", "maximum", "exclusiveMinimum",
                 "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems",
                 "multipleOf")  # fmt: skip
_STYLES = {"multi": ("form", True), "csv": ("form", False), "ssv": ("spaceDelimited", False),
           "pipes": ("pipeDelimited", False)}  # fmt: skip
_FLOWS = {"accessCode": "authorizationCode", "application": "clientCredentials"}
_FORM = "application/x-www-form-urlencoded"


def upgrade(root: Node) -> Node:
    """Return the description as OpenAPI 3.0; unchanged unless it is Swagger 2.0."""
    if not str(root.get("swagger", "")).startswith("2"):
        return root
    root = _with_new_references(root)
    description: Node = {"openapi": "3.0.3", "info": root.get("info", {})}
    if root.get("host"):
        schemes = as_list(root.get("schemes")) or ["https"]
        address = f"{root['host']}{root.get('basePath', '')}"
        description["servers"] = [{"url": f"{scheme}://{address}"} for scheme in schemes]
    description["paths"] = {
        path: _path_item(item, root) if isinstance(item, dict) else item
        for path, item in as_map(root.get("paths")).items()
    }
    description["components"] = {
        "schemas": as_map(root.get("definitions")),
        "parameters": {
            name: _parameter(node)
            for name, node in as_map(root.get("parameters")).items()
            if isinstance(node, dict) and node.get("in") not in ("body", "formData")
        },
        "responses": {
            name: _response(node, as_list(root.get("produces")) or ["application/json"])
            for name, node in as_map(root.get("responses")).items()
        },
        "securitySchemes": {
            name: _scheme(node)
            for name, node in as_map(root.get("securityDefinitions")).items()
            if isinstance(node, dict)
        },
    }
    if "security" in root:
        description["security"] = root["security"]
    return description


def _with_new_references(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _reference(value)
            if key == "$ref" and isinstance(value, str)
            else _with_new_references(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_with_new_references(value) for value in node]
    return node


def _reference(reference: str) -> str:
    for before, after in _SECTIONS.items():
        if reference.startswith(before):
            return after + reference[len(before) :]
    return reference


def _path_item(item: Node, root: Node) -> Node:
    shared = as_list(item.get("parameters"))
    path_item = {key: value for key, value in item.items() if key not in METHODS and key != "parameters"}
    for method in METHODS:
        if isinstance(item.get(method), dict):
            path_item[method] = _operation(item[method], shared, root)
    return path_item


def _operation(operation: Node, shared: list[Any], root: Node) -> Node:
    consumes = as_list(operation.get("consumes", root.get("consumes"))) or ["application/json"]
    produces = as_list(operation.get("produces", root.get("produces"))) or ["application/json"]
    converted = {
        key: value
        for key, value in operation.items()
        if key not in ("consumes", "produces", "parameters", "responses", "schemes")
    }
    parameters: dict[tuple[Any, Any], tuple[Any, Node]] = {}
    for raw in (*shared, *as_list(operation.get("parameters"))):
        node = _parameter_node(raw, root)
        parameters[str(node.get("in")), str(node.get("name"))] = (raw, node)
    plain = [(raw, node) for raw, node in parameters.values() if node.get("in") not in ("body", "formData")]
    converted["parameters"] = [raw if "$ref" in as_map(raw) else _parameter(node) for raw, node in plain]
    body = _body([node for _, node in parameters.values()], consumes)
    if body:
        converted["requestBody"] = body
    responses = as_map(operation.get("responses"))
    converted["responses"] = {status: _response(node, produces) for status, node in responses.items()}
    return converted


def _parameter_node(raw: Any, root: Node) -> Node:
    if reference := reference_of(raw):
        raw = as_map(root.get("parameters")).get(reference.rsplit("/", 1)[-1])
    return as_map(raw)


def _body(nodes: list[Node], consumes: list[str]) -> Node:
    for node in nodes:
        if node.get("in") == "body":
            content = {str(kind): {"schema": node.get("schema", {})} for kind in consumes}
            return {"required": node.get("required") is True, "content": content}
    fields = [node for node in nodes if node.get("in") == "formData"]
    if not fields:
        return {}
    schema = {
        "type": "object",
        "properties": {str(node.get("name")): _schema(node) for node in fields},
        "required": [str(node.get("name")) for node in fields if node.get("required") is True],
    }
    kinds = [kind for kind in consumes if "form" in str(kind)] or [_FORM]
    required = bool(schema["required"])
    return {"required": required, "content": {str(kind): {"schema": schema} for kind in kinds}}


def _schema(node: Node) -> Node:
    return {
        key: value
        for key, value in node.items()
        if key in _SCHEMA_KEYS or (key.startswith("x-") and key != "x-example")
    }


def _parameter(node: Node) -> Node:
    parameter = {
        key: value for key, value in node.items() if key not in _SCHEMA_KEYS and key != "collectionFormat"
    }
    parameter["schema"] = _schema(node)
    if node.get("type") == "array":
        style, explode = _STYLES.get(str(node.get("collectionFormat", "csv")), ("form", False))
        if node.get("in") in ("path", "header"):
            style = "simple"
        parameter["style"], parameter["explode"] = style, explode
    return parameter


def _response(node: Any, produces: list[str]) -> Any:
    if not isinstance(node, dict) or "$ref" in node:
        return node
    response = {key: value for key, value in node.items() if key not in ("schema", "headers", "examples")}
    if "schema" in node:
        response["content"] = {str(kind): {"schema": node["schema"]} for kind in produces}
    if isinstance(node.get("headers"), dict):
        response["headers"] = {
            name: {"schema": _schema(header)}
            for name, header in node["headers"].items()
            if isinstance(header, dict)
        }
    return response


def _scheme(node: Node) -> Node:
    if node.get("type") == "basic":
        return {"type": "http", "scheme": "basic"}
    if node.get("type") == "oauth2":
        flow = str(node.get("flow", ""))
        inner = {key: node[key] for key in ("authorizationUrl", "tokenUrl", "scopes") if key in node}
        return {"type": "oauth2", "flows": {_FLOWS.get(flow, flow): inner}}
    return {key: value for key, value in node.items() if key in ("type", "in", "name")}
