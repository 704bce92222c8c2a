"""Who may do what, by OpenStack's roles: its own rule language, carried by oslo.policy (the extra `policy`).

    secure    administrators and services may do all but reshape, which only services may;
              who has the role reader in a project may see that project's usage
    legacy    the same, and administrators may reshape
    open      whoever names a user may do all

Rules bear OpenStack's names. One that no profile singles out, ours below /graph included, is for administrators and
services. What is scoped to the system or to a domain is no project's, and refused, as OpenStack does.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from etcdcompute.errors import InvalidInput

PROFILES: Final = ("secure", "legacy", "open")
RESHAPE: Final = "placement:reshaper:reshape"
USAGES: Final = "placement:usages"

_DEFAULT: Final = "placement"
_ADMIN_OR_SERVICE: Final = "role:admin or role:service"
_SECURE: Final[Mapping[str, str]] = {
    _DEFAULT: _ADMIN_OR_SERVICE,
    USAGES: f"{_ADMIN_OR_SERVICE} or (role:reader and project_id:%(project_id)s)",
    RESHAPE: "role:service",
}
_RULES: Final[Mapping[str, Mapping[str, str]]] = {
    "secure": _SECURE,
    "legacy": {**_SECURE, RESHAPE: _ADMIN_OR_SERVICE},
    "open": {_DEFAULT: "@"},
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, with the names that rules know them by; empty where there is none."""

    user_id: str
    project_id: str
    domain_id: str
    system_scope: str
    roles: tuple[str, ...]


class Policy:
    """The rules of one profile; InvalidInput where there is none of that name, or oslo.policy is not installed."""

    def __init__(self, profile: str) -> None:
        if profile not in PROFILES:
            raise InvalidInput(f"policy: {profile!r} is not known; it is {', '.join(PROFILES)}")
        try:
            # Only those who ask for roles need it.
            from oslo_config import cfg
            from oslo_policy import policy
        except ImportError as error:
            raise InvalidInput(
                f"auth: noauth2 needs oslo.policy, which cannot be imported ({error}); "
                "install it: pip install 'etcdcompute[policy]'"
            ) from error
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        scopes = None if profile == "open" else ["project"]
        rules = [policy.RuleDefault(name, check, scope_types=scopes) for name, check in _RULES[profile].items()]
        self._names = frozenset(rule.name for rule in rules)
        self._enforcer: Any = policy.Enforcer(conf, use_conf=False)
        self._enforcer.register_defaults(rules)
        self._enforcer.set_rules(policy.Rules({rule.name: rule.check for rule in rules}), use_conf=False)

    def allows(self, rule: str, credentials: Credentials, project_id: str | None) -> bool:
        """Whether a rule allows it to them, on something of a project."""
        name = rule if rule in self._names else _DEFAULT
        known = {**asdict(credentials), "roles": list(credentials.roles)}
        return bool(self._enforcer.enforce(name, {"project_id": project_id or ""}, known))
