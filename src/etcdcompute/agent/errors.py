"""What can go wrong with one instance on one host. The codes stand in its status and never change.

EtcdComputeError
├── BuildError              the instance cannot be brought about; its message stands in the status
│   ├── ImageNotFetched     the image cannot be had
│   ├── ImageSumWrong       what came is not what was asked for
│   ├── ImageInvalid        it is not a disk image this host can use
│   ├── DiskFull            no space left for images or disks
│   ├── DiskTooSmall        DISK_GB is less than the image needs
│   ├── NetworkNotFound     the libvirt network or bridge is not there
│   ├── DomainRefused       libvirt refuses the domain or cannot start it
│   └── DomainConflict      a domain that is not ours stands in the way
├── AlreadyExists
│   └── HostTaken           another machine's agent is alive under this host's uuid
└── Unavailable
    ├── LibvirtUnavailable  libvirtd does not answer now
    └── PlacementUnavailable  placement does not answer now, or refuses this agent
"""

from etcdcompute.errors import AlreadyExists, EtcdComputeError, Unavailable


class BuildError(EtcdComputeError):
    """The instance cannot be brought about; trying again later may help."""

    code = "build_failed"


class ImageNotFetched(BuildError):
    """The image cannot be downloaded or read."""

    code = "image_not_fetched"


class ImageSumWrong(BuildError):
    """The image's SHA-256 is not the one asked for."""

    code = "image_sum_wrong"


class ImageInvalid(BuildError):
    """The file is not an image of the format asked for, or refers to other files."""

    code = "image_invalid"


class DiskFull(BuildError):
    """No space is left where images and disks are kept."""

    code = "disk_full"


class DiskTooSmall(BuildError):
    """The image's virtual size is larger than DISK_GB."""

    code = "disk_too_small"


class NetworkNotFound(BuildError):
    """A libvirt network or bridge that the instance names is not there."""

    code = "network_not_found"


class DomainRefused(BuildError):
    """libvirt refuses the domain's definition, or cannot start it."""

    code = "domain_refused"


class DomainConflict(BuildError):
    """A domain that this project did not make has the instance's uuid."""

    code = "domain_conflict"


class HostTaken(AlreadyExists):
    """Another machine is this host, most likely since one of them is a copy of the other."""

    code = "host_taken"


class LibvirtUnavailable(Unavailable):
    """libvirtd cannot be reached, or stopped answering."""

    code = "libvirt_unavailable"


class PlacementUnavailable(Unavailable):
    """Placement cannot be reached, or does not do as this agent asks; the same call is made again later."""

    code = "placement_unavailable"
