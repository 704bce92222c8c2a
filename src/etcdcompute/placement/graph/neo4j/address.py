"""Where a Neo4j server is and who we are there: neo4j://USER:PASSWORD@HOST:PORT[/DATABASE]."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from etcdcompute.errors import InvalidInput

_PORT: Final = 7687
_FORM: Final = "neo4j://USER:PASSWORD@HOST:PORT"


@dataclass(frozen=True, slots=True)
class Address:
    """One server; `database` None means the user's home database."""

    host_port: str
    user: str
    password: str = field(repr=False)
    database: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL; user and password are percent-quoted where they hold any of `:/@?#%`; InvalidInput."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or _PORT
        except ValueError:
            raise InvalidInput(f"graph: the host or port is none; a graph in Neo4j is {_FORM}") from None
        database = parts.path.strip("/")
        if parts.scheme != "neo4j" or not host or "/" in database or parts.query or parts.fragment:
            raise InvalidInput(
                f"graph: a graph in Neo4j is {_FORM}, with special characters of the password quoted (%2F)"
            )
        if not parts.username or not parts.password:
            raise InvalidInput(f"graph: user or password is missing; a graph in Neo4j is {_FORM}")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{shown}:{port}", unquote(parts.username), unquote(parts.password), unquote(database) or None)
