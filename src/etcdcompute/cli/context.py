"""What all commands share: the configuration, and connections that are made when they are needed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from etcdcompute.config import Settings
    from etcdcompute.kv.client import Client
    from etcdcompute.placement.client import PlacementClient

# A person waits: whatever the daemons' time limits are, an etcd or placement that is down is reported by then.
REQUEST_TIMEOUT_S = 5.0


class Context:
    """One run of the program; leaving it closes what was opened. Imports stay inside: most commands need few."""

    def __init__(self, *, config_path: Path | None = None) -> None:
        self.config_path = config_path
        self._settings: Settings | None = None
        self._store: Client | None = None
        self._placement: PlacementClient | None = None
        self._opened = ExitStack()

    @property
    def settings(self) -> Settings:
        """The configuration; ConfigError where it is wrong."""
        if self._settings is None:
            from etcdcompute.config import load_settings

            self._settings = load_settings(self.config_path)
        return self._settings

    @property
    def store(self) -> Client:
        """A client of etcd."""
        if self._store is None:
            from etcdcompute.kv.connect import connect

            self._store = connect(self.settings.etcd, request_timeout_s=REQUEST_TIMEOUT_S)
            self._opened.callback(self._store.close)
        return self._store

    @property
    def placement(self) -> PlacementClient:
        """A client of placement."""
        if self._placement is None:
            from etcdcompute.placement.client import PlacementClient

            settings = self.settings.placement
            self._placement = PlacementClient(
                settings.urls,
                token=settings.token or None,
                timeout_s=min(settings.request_timeout_s, REQUEST_TIMEOUT_S),
            )
            self._opened.callback(self._placement.close)
        return self._placement

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
