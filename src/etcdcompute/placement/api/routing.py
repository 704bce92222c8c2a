"""From method, path and version to an action: 404 for no such route (in that version), 405 for another method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from etcdcompute.placement.api.exchange import Request, Response
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.streams import StreamAction
from etcdcompute.placement.graph.store import GraphStore

Handler = Callable[[GraphStore, Request], Response]


@dataclass(frozen=True, slots=True)
class Action:
    """What a method does in the versions `since` to `until`; in others the answer is `otherwise`.

    `rule` is the policy's name for it. A handler that may compute for long is `lengthy`: it gets a thread of its own.
    One that has the store's database compute for long, and waits, is `elsewhere`: it gets a thread too, and those who
    compute here do not wait for it.
    """

    handler: Handler
    since: int = 0
    until: int = 10**9
    takes_json: bool = False
    gives_json: bool = False
    otherwise: int = 404
    rule: str = ""
    lengthy: bool = False
    elsewhere: bool = False


AnyAction = Action | StreamAction
Methods = Mapping[str, Sequence[AnyAction]]


class Router:
    """Finds actions in a table of paths; `{name}` in a path stands for any one segment."""

    def __init__(self, routes: Mapping[str, Methods]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], Methods]]] = {}
        for path, methods in routes.items():
            segments = tuple(path.split("/"))
            self._by_length.setdefault(len(segments), []).append((segments, methods))

    def find(self, method: str, path: str, version: int) -> tuple[AnyAction, dict[str, str]]:
        """Return the action and the values of the path's names."""
        segments = tuple(path.split("/"))
        for pattern, methods in self._by_length.get(len(segments), ()):
            items = _match(pattern, segments)
            if items is not None:
                return _choose(methods, method, version), items
        raise Problem(404)


def _match(pattern: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    items = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            items[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return items


def _choose(methods: Methods, method: str, version: int) -> AnyAction:
    actions = methods.get(method)
    if actions is None:
        detail = f"The method {method} is not allowed for this resource."
        raise Problem(405, detail, headers={"allow": ", ".join(methods)})
    for action in actions:
        if action.since <= version <= action.until:
            return action
    raise Problem(actions[0].otherwise)
