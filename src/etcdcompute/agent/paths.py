"""Where everything lies in the state directory.

    host-uuid                        who this host is
    lock                             held by the one agent that runs
    store.json                       which etcd this host belongs to, and how far it was seen
    images/<sha256>.<format>         the cache
    instances/<uuid>/disk.qcow2      overlay over the image
    instances/<uuid>/seed.iso        NoCloud
    instances/<uuid>/console.log     what the guest writes to its serial port
    instances/<uuid>/started         the domain was started (or was about to be): the disk may hold a user's data

qemu does not run as root: directories can be passed through by all, disks are given to qemu's user by libvirt.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from etcdcompute.agent.files import remove_parts, sync_directory, write_atomically
from etcdcompute.model import ImageSource
from etcdcompute.model.stored import is_uuid


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """The files of one instance."""

    directory: Path

    @property
    def disk(self) -> Path:
        """The overlay."""
        return self.directory / "disk.qcow2"

    @property
    def seed(self) -> Path:
        """The seed."""
        return self.directory / "seed.iso"

    @property
    def console_log(self) -> Path:
        """What came from the serial port."""
        return self.directory / "console.log"

    @property
    def started(self) -> Path:
        """The mark that a guest may have written to the disk."""
        return self.directory / "started"

    def create(self) -> None:
        """Make the directory."""
        self.directory.mkdir(mode=0o711, exist_ok=True)

    def mark_started(self) -> bool:
        """Leave the mark; return whether it is new. From now on a failed attempt does not remove the disk."""
        if self.started.exists():
            return False
        write_atomically(self.started, b"")
        return True

    def remove(self) -> None:
        """Remove all of it; absence is success."""
        if self.directory.exists():
            shutil.rmtree(self.directory)
            sync_directory(self.directory.parent)


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state directory."""

    root: Path

    @property
    def images(self) -> Path:
        """The image cache."""
        return self.root / "images"

    @property
    def instances(self) -> Path:
        """The instances' directories."""
        return self.root / "instances"

    @property
    def folders(self) -> tuple[Path, ...]:
        """What may be filesystems of their own."""
        return (self.root, self.instances, self.images)

    @property
    def host_uuid(self) -> Path:
        """The file with the host's uuid."""
        return self.root / "host-uuid"

    @property
    def lock(self) -> Path:
        """The file that the running agent holds locked."""
        return self.root / "lock"

    @property
    def store(self) -> Path:
        """What is remembered of the store."""
        return self.root / "store.json"

    def image(self, source: ImageSource) -> Path:
        """Where an image is cached."""
        return self.images / f"{source.sha256}.{source.format}"

    def instance(self, uuid: str) -> InstancePaths:
        """The files of one instance."""
        return InstancePaths(self.instances / uuid)

    def instance_uuids(self) -> frozenset[str]:
        """The instances that have a directory."""
        return frozenset(path.name for path in self.instances.iterdir() if is_uuid(path.name))

    def prepare(self) -> None:
        """Make the directories; remove what an interrupted agent left in the making."""
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        for directory in (self.images, self.instances):
            directory.mkdir(mode=0o711, exist_ok=True)
        remove_parts(self.root)
        remove_parts(self.images)
        for uuid in self.instance_uuids():
            remove_parts(self.instances / uuid)
