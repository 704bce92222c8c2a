"""Who asks, and what they may do: the gate in front of all routes.

Everybody       asks for nothing and allows all (--auth none)
TokenHolders    one secret for all of it (--auth token)
NamedByToken    believes who the headers say it is, and holds them to a policy (--auth noauth2)
"""

import hmac
from collections.abc import Mapping
from typing import Protocol

from etcdcompute.placement.api.policy import Credentials, Policy
from etcdcompute.placement.api.problems import Problem

Headers = Mapping[str, str]


class Caller(Protocol):
    """Somebody who was let in."""

    def may(self, rule: str, project_id: str | None) -> bool:
        """Whether a rule of the policy allows it, to something of a project (None: of no project)."""


class Gate(Protocol):
    """Lets callers in, or raises Problem 401."""

    def admit(self, headers: Headers) -> Caller:
        """Return who asks."""


class Everybody:
    """A gate that stands open, and those who come through it."""

    def admit(self, headers: Headers) -> Caller:  # noqa: ARG002
        """Let them in."""
        return self

    def may(self, rule: str, project_id: str | None) -> bool:  # noqa: ARG002
        """Allow it."""
        return True


class TokenHolders:
    """Those who know the secret may do all."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def admit(self, headers: Headers) -> Caller:
        """Ask for the secret in X-Auth-Token."""
        if not hmac.compare_digest(headers.get("x-auth-token", "").encode("latin-1"), self._token):
            raise _unknown("The header X-Auth-Token must hold the token of this service.")
        return Everybody()


class NamedByToken:
    """OpenStack's noauth2: X-Auth-Token is USER[:PROJECT[:ROLE,…]], and nothing is proven.

    The roles are those of X-Roles, else the token's, else "admin" for the user admin. X-Project-Id overrules the
    token's project, which is the user unless given; with OpenStack-System-Scope the token stands for none.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def admit(self, headers: Headers) -> Caller:
        """Take the headers' word."""
        user, _, rest = headers.get("x-auth-token", "").partition(":")
        project, _, roles_of_token = rest.partition(":")
        if not user:
            raise _unknown("The header X-Auth-Token must say who asks: USER[:PROJECT[:ROLE,…]].")
        roles = headers.get("x-roles", roles_of_token or ("admin" if user == "admin" else ""))
        system_scope = headers.get("openstack-system-scope", "")
        tenant = headers.get("x-tenant-id", "") if system_scope else project or user
        return _Named(
            self._policy,
            Credentials(
                user_id=user,
                project_id=headers.get("x-project-id", tenant),
                domain_id=headers.get("x-domain-id", ""),
                system_scope=system_scope,
                roles=tuple(role.strip() for role in roles.split(",") if role.strip()),
            ),
        )


class _Named:
    def __init__(self, policy: Policy, credentials: Credentials) -> None:
        self._policy = policy
        self._credentials = credentials

    def may(self, rule: str, project_id: str | None) -> bool:
        return self._policy.allows(rule, self._credentials, project_id)


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers={"www-authenticate": "Token"})
