"""The services that the files want: OpenStack's fixtures configure theirs, ours is told by its command line."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """One way to serve: the name of a policy, and the origins whose pages may use the API."""

    name: str
    policy: str
    cors_origins: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The options of `etcdcompute placement serve`."""
        origins = [f"--cors-origin={origin}" for origin in self.cors_origins]
        return ["--auth=noauth2", f"--policy={self.policy}", *origins]


LEGACY: Final = Profile("legacy", "legacy")
_OF_FIXTURE: Final = {
    "SecureRBACPolicyFixture": Profile("secure", "secure"),
    "OpenPolicyFixture": Profile("open", "open"),
    "CORSFixture": Profile("cors", "legacy", ("http://valid.example.com",)),
}


def profile_for(fixture: str) -> Profile:
    """Return how the service of a fixture is configured: by OpenStack's deprecated rules unless it says otherwise."""
    return _OF_FIXTURE.get(fixture, LEGACY)
