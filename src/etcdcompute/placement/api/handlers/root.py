"""Version discovery and the health of the service."""

from etcdcompute.placement.api import version
from etcdcompute.placement.api.exchange import Request, Response, now
from etcdcompute.placement.graph.store import GraphStore


def home(store: GraphStore, request: Request) -> Response:  # noqa: ARG001 - every handler gets both
    """Say which versions are served."""
    document = {
        "versions": [
            {
                "id": f"v{version.text(version.OLDEST)}",
                "min_version": version.text(version.OLDEST),
                "max_version": version.text(version.LATEST),
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }
    return Response(document=document, modified=now())


def healthcheck(store: GraphStore, request: Request) -> Response:  # noqa: ARG001
    """Say whether the service can work, and which dependency fails where it cannot."""
    dependencies = store.check_health()
    healthy = all(state == "ok" for state in dependencies.values())
    document = {"status": "ok" if healthy else "unavailable", "dependencies": dependencies}
    return Response(200 if healthy else 503, document, headers={"cache-control": "no-store"})
