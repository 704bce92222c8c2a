"""OpenStack's placement in this process: its WSGI application on a database in memory, spoken to without a socket."""

import io
import logging
import sys
from types import SimpleNamespace
from typing import Any

import jsonschema

from tests.conformance.differential.exchange import Answer, Ask, answer
from tests.conformance.differential.quiet import quiet

with quiet():
    from oslo_config import cfg
    from oslo_policy import opts as policy_opts
    from oslo_policy.policy import Rules
    from placement import conf, db_api, deploy, policy, util
    from placement.db.sqlalchemy import migration

# In an order that no foreign key minds.
_TABLES = (
    "allocations",
    "consumers",
    "inventories",
    "resource_provider_aggregates",
    "resource_provider_traits",
    "placement_aggregates",
    "resource_providers",
    "users",
    "projects",
    "consumer_types",
)
_CUSTOM = ("traits", "resource_classes")


class OpenStack:
    """The reference. One at a time in a process: it configures OpenStack's globals."""

    def __init__(self) -> None:
        with quiet():
            config = cfg.ConfigOpts()
            conf.register_opts(config)
            policy_opts.set_defaults(config)
            config.set_override("connection", "sqlite://", "placement_database")
            config.set_override("auth_strategy", "noauth2", "api")
            config([], default_config_files=[], default_config_dirs=[])
            policy.reset()
            db_api.configure(config)
            self._engine: Any = db_api.get_placement_engine()
            migration.create_schema(self._engine)
            self._application: Any = deploy.loadapp(config)
            # Everybody may do everything: who may is another suite's question.
            rules: Any = policy.get_enforcer()
            rules.set_rules(Rules.from_dict(dict.fromkeys(rules.registered_rules, "@")), overwrite=True, use_conf=False)
            util.jsonschema = SimpleNamespace(**{**vars(jsonschema), "validate": _validate})
        # Refusals are part of the game, and failures come back as 500.
        logging.getLogger("placement").setLevel(logging.CRITICAL)

    def reset(self) -> None:
        """Empty the tables."""
        with self._engine.begin() as connection:
            for table in _TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")
            for table in _CUSTOM:
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE name LIKE 'CUSTOM\\_%' ESCAPE '\\'")

    def ask(self, ask: Ask) -> Answer:
        """Answer a request."""
        seen: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            seen["status"] = int(status.split()[0])
            seen["headers"] = {name.lower(): value for name, value in headers}

        with quiet():
            body = b"".join(self._application(_environment(ask), start_response))
        return answer(seen["status"], seen["headers"], body)


_VALIDATORS: dict[int, Any] = {}


def _validate(instance: Any, schema: Any, *, format_checker: Any) -> None:
    """Do what jsonschema.validate does, but check each schema once: that takes a third of OpenStack's time."""
    validator = _VALIDATORS.get(id(schema))
    if validator is None:
        kind: Any = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
        validator = _VALIDATORS[id(schema)] = kind(schema, format_checker=format_checker)
    error = jsonschema.exceptions.best_match(validator.iter_errors(instance))
    if error is not None:
        raise error


def _environment(ask: Ask) -> dict[str, Any]:
    environment: dict[str, Any] = {
        "REQUEST_METHOD": ask.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": ask.path,
        "QUERY_STRING": ask.query_string,
        "SERVER_NAME": "placement",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(ask.payload),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in ask.headers.items():
        key = name.upper().replace("-", "_")
        environment[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environment
