"""The document, put together: routes and statuses from the table, schemas from what requests are held to."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from etcdcompute import __version__
from etcdcompute.placement.api import version
from etcdcompute.placement.api.openapi.own import OWN, schemas_of_types
from etcdcompute.placement.api.openapi.parts import HEADERS, JSON, REFUSAL, REFUSALS, TEXT, Answer, Operation
from etcdcompute.placement.api.openapi.standard import STANDARD
from etcdcompute.placement.api.routing import AnyAction, Methods
from etcdcompute.placement.api.schemas.forms import NAME, UUID, Schema
from etcdcompute.placement.api.streams import StreamAction

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {**STANDARD, **OWN}

# What OpenStack calls the two spellings of the same thing.
_SAME_AS_ROOT: Final = ""
_LATEST: Final = f"{version.SERVICE} {version.text(version.LATEST)}"
_ITEMS: Final[Mapping[str, Schema]] = {
    "uuid": UUID,
    "consumer_uuid": UUID,
    "root": UUID,
    "name": {"type": "string", "pattern": NAME, "maxLength": 255},
    "resource_class": {"type": "string", "pattern": NAME, "maxLength": 255},
}
_EXAMPLES: Final[Mapping[str, str]] = {
    "resources": "VCPU:2,MEMORY_MB:1024",
    "required": "HW_CPU_X86_VMX,!CUSTOM_SLOW",
    "member_of": "in:42896e0d-205d-4fe3-bd1e-100924931787,5e08ea53-c4c6-448e-9334-ac4953de3cfa",
    "limit": "10",
    "in_tree": "42896e0d-205d-4fe3-bd1e-100924931787",
    "root_required": "COMPUTE_NODE",
    "same_subtree": "_NUMA,_NIC",
    "project_id": "1f1f1b2e2a5c4f5aa3a1b1d1c1e1f1a1",
}


def build(routes: Mapping[str, Methods], open_paths: frozenset[str]) -> dict[str, Any]:
    """Return the document about routes; `open_paths` ask nobody who they are."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "etcd-compute placement",
            "version": __version__,
            "description": "OpenStack's Placement API at its latest version, and what goes beyond it below /graph.",
        },
        "paths": {
            path: {
                method.lower(): _describe(path, method, _latest(actions), open_paths)
                for method, actions in methods.items()
            }
            for path, methods in routes.items()
            if path != _SAME_AS_ROOT
        },
        "components": {
            "schemas": {"Refusal": REFUSAL, **{name: _tidy(each) for name, each in schemas_of_types().items()}},
            "responses": {
                _refusal_name(status, own=own): _refusal(status, own=own)
                for own in (False, True)
                for status in REFUSALS
            },
            "headers": dict(HEADERS),
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _latest(actions: Sequence[AnyAction]) -> AnyAction:
    return next(action for action in actions if action.since <= version.LATEST <= action.until)


def _is_own(path: str) -> bool:
    return path.startswith("/graph/")


def _describe(path: str, method: str, action: AnyAction, open_paths: frozenset[str]) -> dict[str, Any]:
    operation = OPERATIONS[path][method]
    entry: dict[str, Any] = {
        "operationId": _id(path, method),
        "summary": (inspect.getdoc(action.handler) or "").partition("\n")[0],
        "parameters": list(_parameters(path, operation)),
        "responses": {str(status): each for status, each in sorted(_responses(path, operation, action, open_paths))},
        # The token is asked for where the service has one.
        "security": [{}] if path in open_paths else [{"token": []}, {}],
    }
    if content := _body(operation):
        entry["requestBody"] = {"required": True, "content": content}
    return entry


def _id(path: str, method: str) -> str:
    words = re.sub(r"[^a-z]+", "_", path).strip("_")
    return f"{method.lower()}_{words or 'versions'}"


def _parameters(path: str, operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = operation.items.get(name, _ITEMS[name])
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if operation.query is not None:
        yield from _query(operation.query.schema)
    if not _is_own(path):
        yield {
            "name": "OpenStack-API-Version",
            "in": "header",
            "required": True,
            "description": "This document is about one version. Others, and none, are served too.",
            "schema": {"type": "string", "enum": [_LATEST]},
        }


def _query(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    required = schema.get("required", ())
    for name, form in schema.get("properties", {}).items():
        yield _parameter(name, form, required=name in required)
    groups = schema.get("patternProperties", {})
    for pattern in groups:
        # ^resources(SUFFIX)?$: without a suffix a parameter like others, with any suffix one of many.
        name = re.match(r"\^(\w+)\(", pattern)
        if name is not None:
            yield _parameter(name[1], TEXT)
    if groups:
        yield {
            "name": "groups",
            "in": "query",
            "style": "form",
            "explode": True,
            "description": "The same parameters with suffixes: a group each, for which one provider has to do.",
            "schema": {"type": "object", "patternProperties": dict(groups), "additionalProperties": False},
        }


def _parameter(name: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "required": required, "schema": schema}
    return {**parameter, "example": _EXAMPLES[name]} if name in _EXAMPLES else parameter


def _body(operation: Operation) -> dict[str, Any]:
    content = dict(operation.body_content)
    if operation.body is not None:
        content[JSON] = dict(operation.body.schema)
    return {media: {"schema": schema} for media, schema in content.items()}


def _responses(
    path: str, operation: Operation, action: AnyAction, open_paths: frozenset[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, answer in operation.answers.items():
        yield status, _response(answer, own=_is_own(path))
    for status in _refusals(path, operation, action, open_paths) - operation.answers.keys():
        yield status, {"$ref": f"#/components/responses/{_refusal_name(status, own=_is_own(path))}"}


def _refusal_name(status: int, *, own: bool) -> str:
    return f"graph-{status}" if own else str(status)


def _refusal(status: int, *, own: bool) -> dict[str, Any]:
    # Who would rather have a page, or cannot read JSON, gets a page, or plain text.
    content = {JSON: {"$ref": "#/components/schemas/Refusal"}, "text/html": TEXT, "text/plain": TEXT}
    headers = ("retry-after",) if status == 503 else ()
    return {**_response(Answer(content, headers), own=own), "description": REFUSALS[status]}


def _response(answer: Answer, *, own: bool) -> dict[str, Any]:
    names = [*answer.headers, "x-openstack-request-id"]
    if not own:
        names += ["vary", "openstack-api-version"]
    response: dict[str, Any] = {
        "description": "Done." if not answer.content else "What was asked for.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if answer.content:
        response["content"] = {media: {"schema": schema} for media, schema in answer.content.items()}
    return response


def _refusals(path: str, operation: Operation, action: AnyAction, open_paths: frozenset[str]) -> set[int]:
    found = {400, 408, 413, 414, 503, *operation.refusals}
    if path not in open_paths:
        found |= {401, 403}
    if not _is_own(path):
        # Versions that are not served.
        found.add(406)
    if action.since:
        # Versions that have no such route.
        found.add(action.otherwise)
    if isinstance(action, StreamAction):
        takes, gives = bool(action.takes), bool(action.gives)
    else:
        takes, gives = action.takes_json, action.gives_json
    return found | ({415} if takes else set()) | ({406} if gives else set())


def _tidy(schema: Any) -> Any:
    """Return a schema whose descriptions, taken from the code, are lines."""
    if isinstance(schema, dict):
        return {
            key: " ".join(each.split()) if key == "description" and isinstance(each, str) else _tidy(each)
            for key, each in schema.items()
        }
    return [_tidy(each) for each in schema] if isinstance(schema, list) else schema
