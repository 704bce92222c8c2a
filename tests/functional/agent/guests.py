"""A guest of 512 bytes: boots in no time, says so on its serial port, and heeds the power button."""

import hashlib
from pathlib import Path

from etcdcompute.model import ImageSource

GREETING = "guest booted"
# 16 bit at 7c00: registers and stack; the text to port 3f8h; the power button enabled (602h, bit 8 of PIIX4's PM1);
# then hlt until a timer tick finds the button pressed (600h), whereupon soft off is written to 604h.
_CODE = bytes.fromhex(
    "fa31c08ed88ed0bc007cfbbe337cbaf803ac84c07403eeebf8ba0206b800"
    "01eff4ba0006edf6c40174f6ba0406b80020efebed677565737420626f6f"
    "7465640d0a00"
)

# Another one, which writes 256 times 64 sectors by the BIOS (int 13h/43h), beginning at sector 128, and then halts.
_WRITER = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbbf0001be257cb80043b280cd1383062d7c404f75eef4ebfd10004000007c00008000000000000000"
)
WRITTEN_BYTES = 256 * 64 * 512


def write_guest(path: Path, *, name: str = "") -> ImageSource:
    """Write the guest as a raw image; `name` makes it a file with a sum of its own."""
    return _write(path, _CODE + name.encode())


def write_writer(path: Path) -> ImageSource:
    """Write the guest that fills WRITTEN_BYTES of its disk."""
    return _write(path, _WRITER)


def _write(path: Path, data: bytes) -> ImageSource:
    path.write_bytes(data.ljust(510, b"\0") + b"\x55\xaa")
    return ImageSource(url=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), format="raw")
