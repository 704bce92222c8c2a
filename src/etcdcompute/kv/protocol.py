"""etcd's messages on protobuf's fast implementation, out of the descriptions in PyPI's `etcd3`.

The stubs of `etcd3` 0.12.0 were generated in 2020 and cannot be imported on protobuf's C implementation ("Descriptors
cannot be created directly"); on its Python one they decode 25 times slower, for everybody in the process. The
description of the protocol inside them, a serialized FileDescriptorProto, is as good as ever: it is read from their
text, without importing them, and the classes are made from it. Three fields that etcd has got since are added on the
way. All of it can go when the stubs are generated anew.
"""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SERIALIZED = re.compile(r"serialized_pb=_b\(('(?:[^'\\]|\\.)*')\)")
_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL


class Messages:
    """The message classes of one package, by name, as attributes."""

    def __init__(self, pool: descriptor_pool.DescriptorPool, package: str) -> None:
        self._pool = pool
        self._package = package

    def __getattr__(self, name: str) -> Any:
        """Make a class when it is first asked for; untyped, as generated ones are."""
        try:
            described = self._pool.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError:
            raise AttributeError(f"etcd's protocol has no message {self._package}.{name}") from None
        made = message_factory.GetMessageClass(described)
        setattr(self, name, made)
        return made


def load_messages() -> Messages:
    """Return the messages of etcd's services; ImportError where `etcd3` is not the one that is known."""
    pool = descriptor_pool.DescriptorPool()
    for name in ("kv", "auth", "rpc"):
        described = _description(name)
        if name == "rpc":
            _add_newer_fields(described)
        pool.Add(described)
    return Messages(pool, "etcdserverpb")


def _description(name: str) -> descriptor_pb2.FileDescriptorProto:
    spec = importlib.util.find_spec("etcd3")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package etcd3 is not installed: pip install etcd3==0.12.0")
    path = Path(spec.submodule_search_locations[0]) / "etcdrpc" / f"{name}_pb2.py"
    found = _SERIALIZED.search(path.read_text())
    if found is None:
        raise ImportError(f"{path} describes no protocol: etcdcompute needs etcd3==0.12.0")
    return descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(found[1]).encode("latin-1"))


def _add_newer_fields(described: descriptor_pb2.FileDescriptorProto) -> None:
    """Add what watches got in etcd 3.4: answers in fragments, and progress on request."""
    messages = {message.name: message for message in described.message_type}
    messages["WatchCreateRequest"].field.add(name="fragment", number=8, type=_BOOL, label=_OPTIONAL)
    messages["WatchResponse"].field.add(name="fragment", number=7, type=_BOOL, label=_OPTIONAL)
    described.message_type.add(name="WatchProgressRequest")
    messages["WatchRequest"].field.add(
        name="progress_request",
        number=3,
        type=_MESSAGE,
        label=_OPTIONAL,
        type_name=".etcdserverpb.WatchProgressRequest",
        oneof_index=0,
    )
