"""The keys in etcd. Nothing else in the code builds or takes apart a key (placement's own graph documents aside)."""

PREFIX = "/etcdcompute/v1"

INSTANCES = f"{PREFIX}/instances/"
INSTANCE_NAMES = f"{PREFIX}/names/instances/"
INSTANCE_STATUSES = f"{PREFIX}/status/instances/"
ASSIGNMENTS = f"{PREFIX}/assignments/"
HOSTS = f"{PREFIX}/hosts/"
ALIVE = f"{PREFIX}/alive/"
PLACEMENT = f"{PREFIX}/placement/"
SCHEDULER_LEADER = f"{PREFIX}/leader/scheduler"

# Written once, by the first daemon that ever used this etcd: agents compare it with the one they knew before they
# remove a domain that the store does not mention, so that an emptied or exchanged etcd never costs anybody a VM.
CLUSTER = f"{PREFIX}/cluster"


def instance(uuid: str) -> str:
    """Key of the desired instance."""
    return f"{INSTANCES}{uuid}"


def instance_id(key: str) -> str:
    """Return what stands behind `/instances/`: the uuid, or what else somebody wrote there, slashes included."""
    return key.removeprefix(INSTANCES)


def instance_name(name: str) -> str:
    """Key that reserves an instance's name; its value is the uuid."""
    return f"{INSTANCE_NAMES}{name}"


def instance_status(uuid: str) -> str:
    """Key of an instance's status."""
    return f"{INSTANCE_STATUSES}{uuid}"


def host_assignments(host_uuid: str) -> str:
    """Prefix of what one agent watches."""
    return f"{ASSIGNMENTS}{host_uuid}/"


def assignment(host_uuid: str, instance_uuid: str) -> str:
    """Key of one assignment."""
    return f"{ASSIGNMENTS}{host_uuid}/{instance_uuid}"


def host(uuid: str) -> str:
    """Key of a host's document."""
    return f"{HOSTS}{uuid}"


def alive(uuid: str) -> str:
    """Key whose presence, under a lease, is a host's liveness."""
    return f"{ALIVE}{uuid}"


def last_segment(key: str) -> str:
    """Return what stands behind the last slash: the uuid or name that a key is about."""
    return key.rpartition("/")[2]


def split_assignment(key: str) -> tuple[str, str]:
    """Return (host uuid, instance uuid) of an assignment's key."""
    host_uuid, _, instance_uuid = key.removeprefix(ASSIGNMENTS).partition("/")
    return host_uuid, instance_uuid
