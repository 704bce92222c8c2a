"""Reading an instance as it is stored: the document and the key it lies under must agree."""

import re

from etcdcompute.model.document import DocumentError
from etcdcompute.model.instance import Instance

# Stands in a status for an instance whose key is no uuid: the status lies under that key all the same.
NIL_UUID = "00000000-0000-0000-0000-000000000000"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_uuid(text: str) -> bool:
    """Whether `text` is a uuid as keys and documents have them: 36 characters, lower case."""
    return _UUID.fullmatch(text) is not None


def parse_instance(name: str, value: bytes) -> Instance:
    """Return the instance stored at `/instances/<name>`; DocumentError also where `name` is not the instance's uuid."""
    instance = Instance.from_json(value)
    if not is_uuid(name):
        raise DocumentError(f"instance: its key ends in {name!r}, which is not a uuid; delete it and create it anew")
    if instance.uuid != name:
        raise DocumentError(
            f"instance: it says uuid {instance.uuid} but lies under the key of {name}; delete it and create it anew"
        )
    return instance
