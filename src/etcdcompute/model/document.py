"""What all documents share: JSON in and out, strict about fields, and a schema version."""

from typing import ClassVar, Self

import msgspec

from etcdcompute.errors import InvalidInput

SCHEMA_VERSION = 1


class DocumentError(InvalidInput):
    """A document does not parse; the message names the kind of document, the field and what is wrong with it."""

    code = "invalid_document"


class _Versioned(msgspec.Struct):
    """Reads nothing but the schema version, so that a newer document is named as such."""

    schema: int = SCHEMA_VERSION


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything stored in etcd: immutable, strict, and the same bytes for the same value."""

    kind: ClassVar[str] = "document"

    schema: int = SCHEMA_VERSION

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse stored bytes; DocumentError says what is wrong and where."""
        try:
            version = msgspec.json.decode(data, type=_Versioned).schema
            if version != SCHEMA_VERSION:
                raise DocumentError(
                    f"{cls.kind}: schema version {version} is not known here (this is version {SCHEMA_VERSION}): "
                    "upgrade this host"
                )
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DocumentError(f"{cls.kind}: {error}") from error
        except RecursionError:
            # Anybody can write this into etcd; it must end no daemon.
            raise DocumentError(f"{cls.kind}: JSON is nested too deeply") from None

    @classmethod
    def from_json_or_none(cls, data: bytes | None) -> Self | None:
        """Parse stored bytes; None where there are none or they do not parse. For what is rewritten, never obeyed."""
        if data is None:
            return None
        try:
            return cls.from_json(data)
        except DocumentError:
            return None

    @classmethod
    def from_mapping(cls, data: object) -> Self:
        """Convert a parsed YAML or JSON mapping; DocumentError says what is wrong and where."""
        try:
            return msgspec.convert(data, type=cls)
        except msgspec.ValidationError as error:
            raise DocumentError(f"{cls.kind}: {error}") from error

    def to_json(self) -> bytes:
        """Return the stored form: JSON with the fields in the order of the class."""
        return msgspec.json.encode(self)

    def to_mapping(self) -> dict[str, object]:
        """Return plain dictionaries, lists, strings and numbers, as JSON would hold them."""
        mapping: dict[str, object] = msgspec.to_builtins(self)
        return mapping
