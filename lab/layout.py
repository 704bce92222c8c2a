"""Where a lab keeps its things: one folder for what it has made, one cache that outlives it."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

CHECKOUT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


def check_name(name: str, what: str) -> str:
    """Return a valid name of a lab or node; anything else is an error that says what is allowed."""
    if not _NAME.fullmatch(name) or name.endswith("-"):
        raise LabError(
            f"{what} name {name!r} is not usable: it starts with a lower-case letter and has at most 30 "
            "lower-case letters, digits and inner hyphens"
        )
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one lab, and the names derived from them.

    `ident` comes from the lab's path and the machine, so two checkouts on one machine (or a lab inside a lab's node)
    never take each other's bridges, tables or processes for their own, even when the state file is gone.
    """

    name: str
    checkout: Path = CHECKOUT

    @property
    def folder(self) -> Path:
        """All that this lab has made on disk."""
        return self.checkout / ".lab" / self.name

    @property
    def cache(self) -> Path:
        """Bases, locks and logs; never removed by `down`."""
        return self.checkout / ".cache" / "lab"

    @property
    def state_file(self) -> Path:
        """The lab's own record of itself."""
        return self.folder / "state.json"

    @property
    def inventory(self) -> Path:
        """Ansible's view of the nodes."""
        return self.folder / "inventory.yml"

    @property
    def keys(self) -> Path:
        """SSH keys of the user and of the hosts."""
        return self.folder / "ssh"

    @property
    def user_key(self) -> Path:
        """The private key that opens every node."""
        return self.keys / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The nodes' host keys, made before the nodes."""
        return self.folder / "known_hosts"

    def node(self, node: str) -> Path:
        """Return the folder of one node: its root, its console's log, the script that runs it."""
        return self.folder / "nodes" / node

    @property
    def lock(self) -> Path:
        """Held while somebody changes this lab; outside the lab's folder because `down` removes that."""
        return self.cache / "locks" / f"lab-{self.name}.lock"

    @property
    def ident(self) -> str:
        """Six hexadecimal digits that are this lab's."""
        try:
            machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
        except OSError:
            machine = ""
        return hashlib.sha256(f"{machine}:{self.folder}".encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        """Name of the lab's bridge; at most 15 characters."""
        return f"lab{self.ident}"

    @property
    def table(self) -> str:
        """Name of the lab's nftables table (family inet)."""
        return f"etcdcompute_lab_{self.name.replace('-', '_')}_{self.ident}"

    def machine(self, node: str) -> str:
        """Return the name of a node's container."""
        return f"{node}-{self.ident}"

    def unit(self, node: str) -> str:
        """Return the name of a node's cgroup, with systemd also that of its unit (less the suffix)."""
        return f"etcdcompute-lab-{self.ident}-{node}"


def labs_in(checkout: Path) -> list[str]:
    """Return the names of the labs that a checkout has state of."""
    folder = checkout / ".lab"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
