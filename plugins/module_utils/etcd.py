# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd through its JSON gateway: what the modules need of it, with nothing beyond ansible-core.

The daemons speak gRPC (`etcdcompute.kv`); a module must not ask its user to install anything.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.etcdcompute.cloud.plugins.module_utils.deadline import Deadline
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, OutcomeUnknown, Refused
from ansible_collections.etcdcompute.cloud.plugins.module_utils.servers import (
    STREAM_ERRORS,
    Answer,
    Connection,
    Servers,
    message_of,
)

_PAGE = 500
# A stream that says nothing for so long is given up and the keys are read anew: the server may have lost its
# cluster, or the machine its network, and neither would show on a silent connection.
SILENCE_S = 15.0

_UNAUTHENTICATED = 16
_PERMISSION_DENIED = 7
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")


@dataclass(frozen=True)
class Item:
    """One key as it stood at one revision."""

    key: str
    value: bytes
    mod_revision: int


@dataclass(frozen=True)
class Compare:
    """One guard of a transaction: the key's last write was `mod_revision`; 0 stands for "does not exist"."""

    key: str
    mod_revision: int

    @classmethod
    def absent(cls, key: str) -> Compare:
        """Hold when the key does not exist."""
        return cls(key, 0)

    @classmethod
    def unchanged(cls, item: Item) -> Compare:
        """Hold when the key has not been written since `item` was read."""
        return cls(item.key, item.mod_revision)


class Gateway:
    """A client of etcd's JSON gateway for one task."""

    def __init__(self, connection: Connection, username: Optional[str] = None, password: Optional[str] = None) -> None:
        if bool(username) != bool(password):
            raise ModuleError("etcd_username and etcd_password go together: give both, or neither")
        self._servers = Servers(connection)
        self._username = username or ""
        self._password = password or ""
        self._token = ""

    def read(self, *keys: str) -> Tuple[int, Dict[str, Optional[Item]]]:
        """Return the keys as they stood at one revision, and that revision; None for what is absent."""
        ranges = [{"request_range": {"key": _encode(key)}} for key in keys]
        body = self._call("/v3/kv/txn", {"success": ranges})
        found: Dict[str, Optional[Item]] = {}
        for index, response in enumerate(body.get("responses", [])):
            items = [_item(each) for each in response.get("response_range", {}).get("kvs", [])]
            found[keys[index]] = items[0] if items else None
        return _revision(body), found

    def read_prefix(self, prefix: str, revision: int = 0) -> Tuple[int, List[Item]]:
        """Return a revision (now, unless given) and all keys that began with `prefix` at it, in key order."""
        start, end = prefix, _prefix_end(prefix)
        items: List[Item] = []
        while True:
            request = {"key": _encode(start), "range_end": _encode(end), "limit": str(_PAGE), "revision": str(revision)}
            body = self._call("/v3/kv/range", request)
            revision = revision or _revision(body)
            page = [_item(each) for each in body.get("kvs", [])]
            items += page
            if not body.get("more") or not page:
                return revision, items
            start = page[-1].key + "\0"

    def commit(self, compares: Sequence[Compare], puts: Mapping[str, bytes], removes: Sequence[str] = ()) -> bool:
        """Carry out one transaction; False where a comparison did not hold and nothing was written.

        Unavailable: nothing was sent. OutcomeUnknown: it may or may not have been carried out.
        """
        operations: List[Dict[str, Any]] = [
            {"request_put": {"key": _encode(key), "value": base64.b64encode(value).decode()}}
            for key, value in puts.items()
        ]
        operations += [{"request_delete_range": {"key": _encode(key)}} for key in removes]
        guards = [
            {
                "key": _encode(each.key),
                "target": "MOD",
                "mod_revision": str(each.mod_revision),
                "result": "EQUAL",
            }
            for each in compares
        ]
        body = self._call("/v3/kv/txn", {"compare": guards, "success": operations}, repeatable=False)
        return bool(body.get("succeeded"))

    def watch(
        self, keys: Sequence[str], from_revision: int, deadline: Deadline
    ) -> Iterator[Tuple[str, Optional[Item]]]:
        """Yield (key, item or None for a deletion) from `from_revision` on, as it happens.

        Ends without an error when the stream does, for whatever reason (restart, compaction, silence): read again,
        then watch again. The next stream goes to the next server.
        """
        data = b"".join(
            json.dumps({"create_request": {"key": _encode(key), "start_revision": str(from_revision)}}).encode()
            for key in keys
        )
        # With this header etcd ends the stream when its member loses the leader, instead of falling silent.
        headers = dict(self._headers(), **{"Grpc-Metadata-hasleader": "true"})
        try:
            silence_s = max(0.1, min(SILENCE_S, deadline.remaining_s))
            with self._servers.open_stream("/v3/watch", data, headers, silence_s) as stream:
                for line in iter(stream.readline, b""):
                    result = json.loads(line.decode()).get("result")
                    if not result or result.get("canceled"):
                        break
                    for event in result.get("events", []):
                        item = _item(event["kv"])
                        yield item.key, None if event.get("type") == "DELETE" else item
                    if deadline.expired:
                        return
        except STREAM_ERRORS:
            pass
        # Also after an authentication error: the read that follows gets a new token.
        self._servers.prefer_next()

    def _headers(self) -> Dict[str, str]:
        if not self._username:
            return {}
        if not self._token:
            self._token = self._authenticate()
        return {"Authorization": self._token}

    def _authenticate(self) -> str:
        answer = self._servers.send(
            "POST", "/v3/auth/authenticate", {"name": self._username, "password": self._password}
        )
        if answer.status == 200 and isinstance(answer.body, dict) and answer.body.get("token"):
            return str(answer.body["token"])
        message = message_of(answer)
        if "authentication is not enabled" in message:
            raise ModuleError("etcd asks nobody for a password: leave out etcd_username and etcd_password")
        raise ModuleError(
            "etcd does not accept etcd_username %r with the given etcd_password: %s" % (self._username, message)
        )

    def _call(self, path: str, document: Dict[str, Any], repeatable: bool = True) -> Dict[str, Any]:
        for attempt in range(2):
            answer = self._servers.send("POST", path, document, self._headers(), repeatable)
            if answer.status == 200 and isinstance(answer.body, dict):
                return answer.body
            message = message_of(answer)
            if self._username and attempt == 0 and any(words in message for words in _STALE_TOKEN):
                self._token = ""
                continue
            break
        raise self._refusal(path, answer, message, repeatable)

    def _refusal(self, path: str, answer: Answer, message: str, repeatable: bool) -> ModuleError:
        code = answer.body.get("code") if isinstance(answer.body, dict) else None
        if "user name is empty" in message or (code == _UNAUTHENTICATED and not self._username):
            message = "etcd wants to know who asks: set etcd_username and etcd_password"
        elif code == _PERMISSION_DENIED:
            message = "etcd does not allow its user %r to do this: %s" % (self._username, message)
        elif answer.status >= 500 and not repeatable:
            return OutcomeUnknown("etcd at %s failed on a transaction: %s" % (self._servers.preferred, message))
        else:
            message = "etcd at %s refused %s: %s" % (self._servers.preferred, path, message)
        return Refused(message, answer.status, str(code))


def _encode(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _item(each: Mapping[str, Any]) -> Item:
    return Item(
        base64.b64decode(each["key"]).decode(errors="replace"),
        base64.b64decode(each.get("value", "")),
        int(each.get("mod_revision", 0)),
    )


def _revision(body: Mapping[str, Any]) -> int:
    return int(body.get("header", {}).get("revision", 0))


def _prefix_end(prefix: str) -> str:
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
