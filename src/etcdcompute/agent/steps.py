"""The steps: each changes the world in one way, can be repeated, and has its failpoint behind it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etcdcompute.agent.disks import create_overlay, disk_error
from etcdcompute.agent.domain_xml import DomainDefinition, DomainFiles, HostFlavour, define_domain
from etcdcompute.agent.errors import DomainConflict, DomainRefused, NetworkNotFound
from etcdcompute.agent.hypervisor import Domain, DomainState, Hypervisor
from etcdcompute.agent.images import ImageCache
from etcdcompute.agent.machine import read_disk
from etcdcompute.agent.outage import Outage, placement_calls
from etcdcompute.agent.paths import InstancePaths, StatePaths
from etcdcompute.agent.plan import Observed, Step, plan_local_removal
from etcdcompute.agent.seed import create_seed
from etcdcompute.errors import Conflict
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Compare, Item, Operation, Rejected, Remove
from etcdcompute.model import Instance, keys
from etcdcompute.placement.client import PlacementClient

_SYS_CLASS_NET = Path("/sys/class/net")
_RESUME_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Host:
    """What the steps need to know of this host."""

    uuid: str
    flavour: HostFlavour


@dataclass(frozen=True, slots=True)
class View:
    """One look at an instance on this host. `definition` is made only where the domain is not running."""

    observed: Observed
    domain: Domain | None
    definition: DomainDefinition | None


class Steps:
    """Looks at an instance and carries out single steps. Safe to use from any thread, one instance by one thread."""

    def __init__(
        self,
        *,
        host: Host,
        paths: StatePaths,
        hypervisor: Hypervisor,
        images: ImageCache,
        store: Client,
        placement: PlacementClient,
        placement_outage: Outage,
    ) -> None:
        self._host = host
        self._paths = paths
        self._hypervisor = hypervisor
        self._images = images
        self._store = store
        self._placement = placement
        self._placement_outage = placement_outage

    def look(self, instance: Instance) -> View:
        """Look at an instance that shall be here; DomainConflict where somebody else's domain has its uuid."""
        domain = self._hypervisor.domain(instance.uuid)
        if domain is not None and not domain.ours:
            raise _unmarked(domain)
        paths = self._paths.instance(instance.uuid)
        state = DomainState.ABSENT if domain is None else domain.state
        definition = None
        if state in (DomainState.ABSENT, DomainState.SHUT_OFF):
            definition = self._define(instance, domain, paths)
        observed = Observed(
            image=self._images.cached(instance.image) is not None,
            disk=paths.disk.exists(),
            seed=paths.seed.exists(),
            files=paths.directory.exists(),
            domain=state,
            domain_current=definition is None or (domain is not None and domain.digest == definition.digest),
        )
        return View(observed, domain, definition)

    def remove_locally(self, uuid: str) -> bool:
        """Undo all there is of an instance on this host; return whether there was anything."""
        domain = self._hypervisor.domain(uuid)
        paths = self._paths.instance(uuid)
        if domain is not None and not domain.ours and paths.directory.exists():
            # It may be ours without its mark (`virsh edit`), running on the disk that would be removed.
            raise _unmarked(domain)
        state = domain.state if domain is not None and domain.ours else DomainState.ABSENT
        observed = Observed(
            image=False, disk=False, seed=False, files=paths.directory.exists(), domain=state, domain_current=False
        )
        actions: dict[Step, Callable[[], None]] = {
            Step.DOMAIN_DESTROYED: lambda: self._hypervisor.destroy(uuid),
            Step.DOMAIN_UNDEFINED: lambda: self._hypervisor.undefine(uuid),
            Step.FILES_REMOVED: lambda: _remove_files(paths),
        }
        steps = plan_local_removal(observed)
        for step in steps:
            actions[step]()
            failpoint(f"agent.{step}")
        return bool(steps)

    def exists_locally(self, uuid: str) -> bool:
        """Tell whether this host has a domain of ours or files of the instance."""
        domain = self._hypervisor.domain(uuid)
        return (domain is not None and domain.ours) or self._paths.instance(uuid).directory.exists()

    def cache_image(self, instance: Instance) -> bool:
        """Have the image in the cache; False where it is being fetched, and the instance will be called up."""
        if self._images.request(instance.image, instance.uuid) is None:
            return False
        failpoint(f"agent.{Step.IMAGE_CACHED}")
        return True

    def create_disk(self, instance: Instance) -> None:
        """Create the overlay disk over the cached image."""
        paths = self._paths.instance(instance.uuid)
        with _writing(paths):
            paths.create()
            create_overlay(
                self._paths.image(instance.image), instance.image, paths.disk, disk_gib=instance.resources["DISK_GB"]
            )
        failpoint(f"agent.{Step.DISK_CREATED}")

    def create_seed(self, instance: Instance) -> None:
        """Create the seed."""
        paths = self._paths.instance(instance.uuid)
        with _writing(paths):
            create_seed(instance, paths.seed)
        failpoint(f"agent.{Step.SEED_CREATED}")

    def define_domain(self, definition: DomainDefinition) -> None:
        """Define the domain."""
        self._hypervisor.define(definition.xml)
        failpoint(f"agent.{Step.DOMAIN_DEFINED}")

    def start_domain(self, instance: Instance) -> None:
        """Start the domain, its networks first."""
        for name in dict.fromkeys(each.network for each in instance.networks if each.network is not None):
            self._hypervisor.ensure_network(name)
        paths = self._paths.instance(instance.uuid)
        with _writing(paths):
            # Before the start: if we die in between, the disk is kept, which errs on the safe side.
            first = paths.mark_started()
        try:
            self._hypervisor.start(instance.uuid)
        except DomainRefused as error:
            if first:
                paths.started.unlink(missing_ok=True)
            raise _missing_bridge(instance, error) or error from error
        failpoint(f"agent.{Step.DOMAIN_STARTED}")

    def has_space(self, instance: Instance) -> bool:
        """Tell whether a guest that found no space would find some, and not end where it was at once."""
        # Its own folder: `instances/` may be a filesystem of its own.
        return read_disk(self._paths.instance(instance.uuid).directory).free_bytes >= _RESUME_BYTES

    def resume_domain(self, instance: Instance) -> None:
        """Let a domain go on whose disk found no space."""
        self._hypervisor.resume(instance.uuid)
        failpoint(f"agent.{Step.DOMAIN_RESUMED}")

    def request_shutdown(self, instance: Instance) -> None:
        """Ask the guest to shut down."""
        self._hypervisor.request_shutdown(instance.uuid)
        failpoint(f"agent.{Step.SHUTDOWN_REQUESTED}")

    def destroy_domain(self, instance: Instance) -> None:
        """Switch the domain off, definition and disk stay."""
        self._hypervisor.destroy(instance.uuid)
        failpoint(f"agent.{Step.DOMAIN_DESTROYED}")

    def undo_attempt(self, instance: Instance) -> None:
        """Undo a failed build, unless the guest has ever run: then its disk is the user's."""
        self._images.withdraw(instance.uuid)
        if not self._paths.instance(instance.uuid).started.exists():
            self.remove_locally(instance.uuid)

    def release_allocation(self, uuid: str) -> None:
        """Free what the instance holds in placement."""
        with placement_calls(self._placement_outage):
            self._placement.release(uuid)
        failpoint(f"agent.{Step.ALLOCATION_RELEASED}")

    def remove_keys(self, instance: Instance, item: Item) -> None:
        """Remove assignment, instance, name and status in one transaction; Conflict where one of them changed."""
        found = {
            key: self._store.get(key)
            for key in (
                keys.assignment(self._host.uuid, instance.uuid),
                keys.instance_name(instance.name),
                keys.instance_status(instance.uuid),
            )
        }
        name = found[keys.instance_name(instance.name)]
        if name is not None and name.value.decode("utf-8", "replace").strip() != instance.uuid:
            del found[name.key]
        compares = [Compare.unchanged(item)]
        operations: list[Operation] = [Remove(item.key)]
        for key, each in found.items():
            compares.append(Compare.absent(key) if each is None else Compare.unchanged(each))
            if each is not None:
                operations.append(Remove(key))
        if isinstance(self._store.commit(compares, operations), Rejected):
            raise Conflict(f"instance {instance.uuid} changed while its keys were to be removed")
        failpoint(f"agent.{Step.KEYS_REMOVED}")

    def _define(self, instance: Instance, domain: Domain | None, paths: InstancePaths) -> DomainDefinition:
        if domain is not None:
            name = domain.name
        else:
            # People look for their instance's name in `virsh list`; a machine's own domain may have it already.
            owner = self._hypervisor.name_owner(instance.name)
            name = instance.name if owner in (None, instance.uuid) else f"instance-{instance.uuid}"
        files = DomainFiles(paths.disk, paths.seed, paths.console_log)
        return define_domain(instance, name=name, flavour=self._host.flavour, files=files)


def _unmarked(domain: Domain) -> DomainConflict:
    return DomainConflict(
        f"domain {domain.name!r} on this host has the instance's uuid and does not carry this project's mark: "
        "undefine it (virsh undefine), then this goes on by itself"
    )


def _missing_bridge(instance: Instance, error: DomainRefused) -> NetworkNotFound | None:
    """Return what is wrong if a bridge is missing; libvirt's own message does not say it plainly."""
    for network in instance.networks:
        if network.bridge is not None and not (_SYS_CLASS_NET / network.bridge / "bridge").exists():
            return NetworkNotFound(
                f"there is no bridge {network.bridge!r} on this host: create it, or name another in networks ({error})"
            )
    return None


def _remove_files(paths: InstancePaths) -> None:
    with _writing(paths):
        paths.remove()


@contextlib.contextmanager
def _writing(paths: InstancePaths) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, paths.directory) from error
