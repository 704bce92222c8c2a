"""Which shared libraries a 64-bit little-endian ELF program asks for: the DT_NEEDED entries and the interpreter."""

import struct
from dataclasses import dataclass

from guest.errors import GuestError

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


@dataclass(frozen=True, slots=True)
class Linkage:
    """What the dynamic loader needs to run a program; both empty for a static one."""

    needed: tuple[str, ...]
    interpreter: str | None


def read_linkage(program: bytes, *, name: str) -> Linkage:
    """Read the program headers; `name` is for the error message only."""
    if program[:6] != b"\x7fELF\x02\x01":
        raise GuestError(f"{name} is no 64-bit little-endian ELF file: the package is not for amd64")
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    segments = [struct.unpack_from("<IIQQQQ", program, table + index * size) for index in range(count)]
    loads = [(address, offset, length) for kind, _, offset, address, _, length in segments if kind == _PT_LOAD]
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    for kind, _, offset, _, _, length in segments:
        if kind == _PT_INTERP:
            interpreter = _string(program, offset)
        elif kind == _PT_DYNAMIC:
            entries = list(struct.iter_unpack("<qQ", program[offset : offset + length - length % 16]))
            needed = _needed(program, entries, loads)
    return Linkage(needed, interpreter)


def _needed(program: bytes, entries: list[tuple[int, int]], loads: list[tuple[int, int, int]]) -> tuple[str, ...]:
    names: list[int] = []
    strings = 0
    for tag, value in entries:
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            names.append(value)
        elif tag == _DT_STRTAB:
            strings = next(
                offset + value - address for address, offset, size in loads if address <= value < address + size
            )
    return tuple(_string(program, strings + name) for name in names)


def _string(program: bytes, offset: int) -> str:
    return program[offset : program.index(b"\0", offset)].decode()
