"""Telling systemd how a service is doing (sd_notify's protocol, without its library).

A unit with `Type=notify` gives its process the address of a datagram socket in NOTIFY_SOCKET; a message is lines
`NAME=VALUE`. An address that begins with `@` is in the abstract namespace. Without the variable nothing is sent, and
a message that cannot be delivered is not worth a daemon's life.
"""

import logging
import os
import socket

_LOG = logging.getLogger(__name__)


def notify(message: str) -> bool:
    """Send `message` to systemd, if it listens; return whether it was sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), address)
    except OSError as error:
        _LOG.warning("systemd cannot be told %r: %s", message, error)
        return False
    return True


def notify_ready(status: str = "") -> bool:
    """Say that the service has started; `status` is one line for `systemctl status`."""
    return notify("READY=1" + (f"\nSTATUS={status}" if status else ""))


def notify_stopping() -> bool:
    """Say that the service is on its way down."""
    return notify("STOPPING=1")
