"""Who is let in, and what they may do: OpenStack's noauth2 and the roles of its policies."""

import sys

import pytest

from etcdcompute.errors import InvalidInput
from etcdcompute.placement.api.access import NamedByToken
from etcdcompute.placement.api.policy import RESHAPE, USAGES, Policy
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.routes import ROUTES

LIST = "placement:resource_providers:list"
OURS = ""  # a route that OpenStack does not have
ALL = frozenset({LIST, USAGES, RESHAPE, OURS})


@pytest.fixture(scope="module")
def gates() -> dict[str, NamedByToken]:
    return {profile: NamedByToken(Policy(profile)) for profile in ("secure", "legacy", "open")}


def allowed(gate: NamedByToken, headers: dict[str, str], project: str | None = "mine") -> frozenset[str]:
    caller = gate.admit(headers)
    return frozenset(rule for rule in ALL if caller.may(rule, project))


@pytest.mark.parametrize(
    ("headers", "secure", "legacy"),
    [
        ({"x-auth-token": "admin"}, ALL - {RESHAPE}, ALL),
        ({"x-auth-token": "somebody"}, frozenset(), frozenset()),
        ({"x-auth-token": "somebody", "x-roles": "service"}, ALL, ALL),
        ({"x-auth-token": "somebody", "x-roles": "member, admin ,reader"}, ALL - {RESHAPE}, ALL),
        # Roles in the token, which the header overrules, as it does a user's name.
        ({"x-auth-token": "somebody:mine:service,reader"}, ALL, ALL),
        ({"x-auth-token": "somebody:mine:service", "x-roles": "member"}, frozenset(), frozenset()),
        ({"x-auth-token": "admin:mine:member"}, frozenset(), frozenset()),
        ({"x-auth-token": "admin", "x-roles": ""}, frozenset(), frozenset()),
        # A reader sees the usage of a project, if it is the caller's own.
        ({"x-auth-token": "somebody:mine", "x-roles": "reader"}, {USAGES}, {USAGES}),
        ({"x-auth-token": "mine", "x-roles": "reader"}, {USAGES}, {USAGES}),
        ({"x-auth-token": "somebody:other", "x-roles": "reader"}, frozenset(), frozenset()),
        ({"x-auth-token": "somebody:other:reader", "x-project-id": "mine"}, {USAGES}, {USAGES}),
        ({"x-auth-token": "somebody:mine:reader", "x-project-id": "other"}, frozenset(), frozenset()),
        # The whole system's, and a domain's, administrators are none of a project's.
        ({"x-auth-token": "admin", "openstack-system-scope": "all"}, frozenset(), frozenset()),
        ({"x-auth-token": "admin", "x-domain-id": "default"}, frozenset(), frozenset()),
    ],
)
def test_roles(
    gates: dict[str, NamedByToken], headers: dict[str, str], secure: frozenset[str], legacy: frozenset[str]
) -> None:
    assert allowed(gates["secure"], headers) == secure
    assert allowed(gates["legacy"], headers) == legacy
    assert allowed(gates["open"], headers) == ALL


def test_a_reader_of_no_project_sees_none(gates: dict[str, NamedByToken]) -> None:
    assert allowed(gates["secure"], {"x-auth-token": "somebody:mine:reader"}, None) == frozenset()


@pytest.mark.parametrize("profile", ["secure", "legacy", "open"])
@pytest.mark.parametrize("headers", [{}, {"x-auth-token": ""}, {"x-auth-token": ":mine:admin"}, {"x-roles": "admin"}])
def test_somebody_has_to_be_named(gates: dict[str, NamedByToken], profile: str, headers: dict[str, str]) -> None:
    with pytest.raises(Problem, match="X-Auth-Token") as refused:
        gates[profile].admit(headers)
    assert refused.value.status == 401


def test_every_route_of_openstacks_has_a_rule_of_its_policy() -> None:
    without = {
        path
        for path, methods in ROUTES.items()
        for actions in methods.values()
        for action in actions
        if not action.rule.startswith("placement:")
    }
    assert all(path in ("", "/", "/healthcheck") or path.startswith("/graph") for path in without), without


def test_a_policy_that_is_not_known() -> None:
    with pytest.raises(InvalidInput, match="policy: 'strict' is not known; it is secure, legacy, open"):
        Policy("strict")


def test_without_the_policy_engine_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oslo_policy", None)
    with pytest.raises(InvalidInput, match=r"noauth2 needs oslo\.policy.*pip install 'etcdcompute\[policy\]'"):
        Policy("secure")
