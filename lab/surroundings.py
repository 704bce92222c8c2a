"""What the nodes take over from this machine, so that package installs work behind the same network."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import CommandError

DEFAULT_MIRROR = "http://deb.debian.org/debian"
# Where the real upstream resolvers stand when /etc/resolv.conf names a stub on the loopback.
RESOLV_CONFS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/resolv.conf")
_APT_SETTING = re.compile(
    r'^(Acquire::(?:https?::(?:Proxy(?:::[^ "]+)?|Timeout)|Check-Date|Check-Valid-Until|Retries)) "([^"]*)";$'
)
_LOOPBACK = re.compile(r"//(localhost|127\.[0-9.]+|\[::1\])(?=[:/]|$)")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The host's network settings that the nodes need."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    apt_settings: tuple[tuple[str, str], ...]
    authorities: tuple[Path, ...]
    pip_conf: str | None
    mirror: str
    security_mirror: str
    mtu: int

    @property
    def authorities_digest(self) -> str:
        """One hash over the additional certificate authorities."""
        digest = hashlib.sha256()
        for path in self.authorities:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def apt_conf(self, gateway: str | None = None) -> str:
        """Return an apt configuration; with `gateway`, a proxy on the host's loopback is reached through it."""
        lines = []
        for key, value in self.apt_settings:
            seen_from_node = _LOOPBACK.sub(f"//{gateway}", value) if gateway else value
            lines.append(f'{key} "{seen_from_node}";\n')
        return "".join(lines)

    def resolv_conf(self) -> str:
        """Return the nodes' /etc/resolv.conf."""
        lines = [f"search {' '.join(self.search)}\n"] if self.search else []
        return "".join([*lines, *(f"nameserver {server}\n" for server in self.nameservers)])


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (nameservers, search domains) of a resolv.conf, only nameservers that a node can reach over IPv4."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                server = ipaddress.ip_address(words[1].split("%")[0])
            except ValueError:
                continue
            if server.version == 4 and not server.is_loopback and not server.is_unspecified:
                servers.append(str(server))
        elif len(words) >= 2 and words[0] in ("search", "domain"):
            search = tuple(word for word in words[1:] if word != ".")
    return tuple(servers), search


def parse_apt_settings(dump: str) -> tuple[tuple[str, str], ...]:
    """Return the settings about proxies, time-outs and dates from the output of `apt-config dump`."""
    found = (_APT_SETTING.match(line) for line in dump.splitlines())
    return tuple((match[1], match[2]) for match in found if match and match[2])


def parse_mirrors(sources: str) -> tuple[str, str]:
    """Return (mirror, security mirror) that apt's source lists name for Debian, else Debian's own."""
    uris = re.findall(
        r"https?://[^\s\]]+", "\n".join(line for line in sources.splitlines() if not line.lstrip().startswith("#"))
    )
    uris = [uri.rstrip("/") for uri in uris]
    mirror = next((uri for uri in uris if uri.endswith("/debian")), DEFAULT_MIRROR)
    security = next((uri for uri in uris if uri.endswith("/debian-security")), f"{mirror}-security")
    return mirror, security


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _mtu() -> int:
    """Return the MTU of the interface with the default route (1500 where there is none)."""
    try:
        match = re.search(r"\bdev (\S+)", run(["ip", "-4", "route", "show", "default"]))
    except CommandError:
        return 1500
    text = _read(Path("/sys/class/net") / match[1] / "mtu").strip() if match else ""
    return min(1500, int(text)) if text.isdigit() else 1500


def fetch_surroundings(mirror: str | None = None) -> Surroundings:
    """Read the host's resolvers, apt settings, certificate authorities, pip settings and MTU.

    `mirror` takes the place of the Debian mirror that the host's own apt uses.
    """
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    for path in RESOLV_CONFS:
        servers, search = parse_resolv_conf(_read(Path(path)))
        if servers:
            break
    try:
        apt_settings = parse_apt_settings(run(["apt-config", "dump"]))
    except CommandError:
        apt_settings = ()
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    found_mirror, found_security = parse_mirrors("\n".join(_read(path) for path in lists))
    pip_conf = Path("/etc/pip.conf")
    return Surroundings(
        nameservers=servers,
        search=search,
        apt_settings=apt_settings,
        authorities=tuple(sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt"))),
        pip_conf=_read(pip_conf) if pip_conf.is_file() else None,
        mirror=mirror.rstrip("/") if mirror else found_mirror,
        security_mirror=f"{mirror.rstrip('/')}-security" if mirror else found_security,
        mtu=_mtu(),
    )
