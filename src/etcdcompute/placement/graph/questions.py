"""Questions that somebody puts to the graph in the store's own query language, and the answers as plain values."""

from dataclasses import dataclass
from typing import Any, Final

USUAL_TIMEOUT_S: Final = 10.0
MOST_TIMEOUT_S: Final = 60.0
USUAL_ROWS: Final = 1_000
MOST_ROWS: Final = 10_000
# As the database sends it. A row is read whole before anybody can look at it, so this bounds the service's memory.
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_CHARACTERS: Final = 100_000


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows in the order of the answer, of what JSON can hold; `truncated` says that there were more."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    truncated: bool
