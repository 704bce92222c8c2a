"""The configuration: one YAML file, every setting also an environment variable.

`/etc/etcdcompute/etcdcompute.yaml` (or the file that `--config` or ETCDCOMPUTE_CONFIG names) has the sections `etcd`,
`placement`, `scheduler`, `agent` and `log`. The variable of a setting is ETCDCOMPUTE_<SECTION>_<SETTING> in capitals
and wins over the file; lists are separated by commas, mappings written `KEY=VALUE,KEY=VALUE`. An unknown key is an
error that names it.
"""

import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from etcdcompute.errors import InvalidInput

DEFAULT_PATH = Path("/etc/etcdcompute/etcdcompute.yaml")
ENVIRONMENT_PREFIX = "ETCDCOMPUTE_"
# The resource classes of which an agent keeps inventories.
_INVENTORIED = ("VCPU", "MEMORY_MB", "DISK_GB")

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Endpoint = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+$")]


class ConfigError(InvalidInput):
    """The configuration is wrong; the message names the file or variable, the key and the way out."""

    code = "invalid_configuration"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: strict about keys."""


class EtcdSettings(_Section, frozen=True):
    """How to reach etcd. With https endpoints, `ca_file` and, where etcd asks for it, `cert_file` and `key_file`."""

    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(min_length=1)] = ("http://127.0.0.1:2379",)
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    request_timeout_s: Seconds = 5.0


class PlacementSettings(_Section, frozen=True):
    """The placement service: what it serves (`listen`, `graph`), to whom, and where its clients find it (`urls`).

    `graph` is memory://, etcd://HOST:PORT[,HOST:PORT…], or empty for the endpoints of the section etcd. `auth` is
    `none`, `token` or `noauth2`; empty means token where `token` is set, and none on loopback only. `policy` (secure
    unless set, legacy or open) is what noauth2 holds callers to. Pages of `cors_origins` may use the API from browsers.
    """

    urls: Annotated[tuple[Endpoint, ...], msgspec.Meta(min_length=1)] = ("http://127.0.0.1:8778",)
    token: str = ""
    listen: str = "127.0.0.1:8778"
    graph: str = ""
    auth: Annotated[str, msgspec.Meta(pattern=r"^(|none|token|noauth2)$")] = ""
    policy: Annotated[str, msgspec.Meta(pattern=r"^(|secure|legacy|open)$")] = ""
    cors_origins: tuple[str, ...] = ()
    request_timeout_s: Seconds = 5.0


class SchedulerSettings(_Section, frozen=True):
    """The scheduler. `identity` (the host's name unless set) is what the leader's key shows."""

    identity: str = ""
    leader_ttl_s: Annotated[int, msgspec.Meta(ge=2)] = 5
    resync_interval_s: Seconds = 30.0
    retry_interval_s: Seconds = 10.0


class AgentSettings(_Section, frozen=True):
    """The agent of a compute host.

    `reserved` (amounts) and `allocation_ratios` (factors) are per resource class VCPU, MEMORY_MB, DISK_GB.
    `virt_type` is auto (KVM where a probe shows that it works), kvm or qemu. `state_dir` holds the host's uuid,
    images and disks. `address` (the one towards etcd unless set) is what others see as this host's.
    """

    host_name: str = ""
    address: str = ""
    state_dir: str = "/var/lib/etcdcompute"
    libvirt_uri: str = "qemu:///system"
    virt_type: Annotated[str, msgspec.Meta(pattern=r"^(auto|kvm|qemu)$")] = "auto"
    reserved: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = msgspec.field(
        default_factory=lambda: {"VCPU": 0, "MEMORY_MB": 512, "DISK_GB": 0}
    )
    allocation_ratios: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = msgspec.field(
        default_factory=lambda: {"VCPU": 4.0, "MEMORY_MB": 1.0, "DISK_GB": 1.0}
    )
    alive_ttl_s: Annotated[int, msgspec.Meta(ge=2)] = 10
    resync_interval_s: Seconds = 30.0
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    image_timeout_s: Seconds = 600.0

    def __post_init__(self) -> None:
        for name, amounts in (("reserved", self.reserved), ("allocation_ratios", self.allocation_ratios)):
            unknown = sorted(set(amounts) - set(_INVENTORIED))
            if unknown:
                raise ValueError(f"{name}: {', '.join(unknown)} is not among {', '.join(_INVENTORIED)}")


class LogSettings(_Section, frozen=True):
    """What the daemons write to standard error (systemd's journal): `level` debug, info, warning or error."""

    level: Annotated[str, msgspec.Meta(pattern=r"^(debug|info|warning|error)$")] = "info"


class Settings(_Section, frozen=True):
    """All of it; every section has working defaults for a single machine."""

    etcd: EtcdSettings = EtcdSettings()
    placement: PlacementSettings = PlacementSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    agent: AgentSettings = AgentSettings()
    log: LogSettings = LogSettings()


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the file (may be absent unless named), lay the environment over it; ConfigError on anything odd."""
    environment = os.environ if environment is None else environment
    named = path or (Path(environment["ETCDCOMPUTE_CONFIG"]) if environment.get("ETCDCOMPUTE_CONFIG") else None)
    data = _read_file(named or DEFAULT_PATH, required=named is not None)
    source = str(named or DEFAULT_PATH)
    # The file is checked by itself first, so that an error names the place that is wrong.
    _convert(data, source)
    overlaid = {section: dict(values or {}) for section, values in data.items()}
    for section, setting, variable, value in _variables(environment):
        overlaid.setdefault(section, {})[setting] = _parse_variable(section, setting, variable, value)
    return _convert(overlaid, f"{source} with the environment")


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such configuration file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(v, dict | None) for v in data.values()):
        raise ConfigError(f"{path}: must be a mapping of sections: {', '.join(Settings.__struct_fields__)}")
    return data


def _convert(data: Mapping[str, Any], source: str) -> Settings:
    present = {section: values for section, values in data.items() if values is not None}
    try:
        return msgspec.convert(present, type=Settings)
    except msgspec.ValidationError as error:
        sections = typing.get_type_hints(Settings)
        known = "; ".join(f"{name}: {', '.join(kind.__struct_fields__)}" for name, kind in sections.items())
        hint = f" (known: {known})" if "unknown field" in str(error) else ""
        raise ConfigError(f"{source}: {error}{hint}") from error


def _variables(environment: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    found = []
    for section, kind in typing.get_type_hints(Settings).items():
        for setting in kind.__struct_fields__:
            variable = f"{ENVIRONMENT_PREFIX}{section}_{setting}".upper()
            if variable in environment:
                found.append((section, setting, variable, environment[variable]))
    return found


def _parse_variable(section: str, setting: str, variable: str, value: str) -> Any:
    kind = typing.get_type_hints(typing.get_type_hints(Settings)[section])[setting]
    origin = typing.get_origin(kind)
    if origin is tuple:
        return [part.strip() for part in value.split(",") if part.strip()]
    if kind is str:
        return value
    try:
        if origin is dict:
            pairs = [part.partition("=") for part in value.split(",") if part.strip()]
            number = typing.get_args(kind)[1]
            return {key.strip(): number(amount) for key, _, amount in pairs}
        return kind(value)
    except ValueError:
        expected = "KEY=NUMBER,KEY=NUMBER" if origin is dict else f"a number, not {value!r}"
        raise ConfigError(f"{variable}: must be {expected}") from None
