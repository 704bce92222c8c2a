# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that modules share, and the connections they describe."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional

from ansible.module_utils.basic import env_fallback

from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError
from ansible_collections.etcdcompute.cloud.plugins.module_utils.etcd import Gateway
from ansible_collections.etcdcompute.cloud.plugins.module_utils.placement import Placement
from ansible_collections.etcdcompute.cloud.plugins.module_utils.servers import Connection


def _from_environment(variable: str, **option: Any) -> Dict[str, Any]:
    return dict(option, fallback=(env_fallback, ["ETCDCOMPUTE_" + variable]))


def etcd_options() -> Dict[str, Any]:
    """Return the options of the doc fragment `etcd`."""
    return {
        "etcd_endpoints": _from_environment(
            "ETCD_ENDPOINTS", type="list", elements="str", default=["http://127.0.0.1:2379"]
        ),
        "etcd_username": _from_environment("ETCD_USERNAME", type="str"),
        "etcd_password": _from_environment("ETCD_PASSWORD", type="str", no_log=True),
        "etcd_ca_file": _from_environment("ETCD_CA_FILE", type="path"),
        "etcd_cert_file": _from_environment("ETCD_CERT_FILE", type="path"),
        "etcd_key_file": _from_environment("ETCD_KEY_FILE", type="path", no_log=False),
        "etcd_validate_certs": _from_environment("ETCD_VALIDATE_CERTS", type="bool", default=True),
        "etcd_request_timeout": _from_environment("ETCD_REQUEST_TIMEOUT_S", type="float", default=5.0),
    }


def placement_options() -> Dict[str, Any]:
    """Return the options of the doc fragment `placement`."""
    return {
        "placement_urls": _from_environment(
            "PLACEMENT_URLS", type="list", elements="str", default=["http://127.0.0.1:8778"]
        ),
        "placement_token": _from_environment("PLACEMENT_TOKEN", type="str", no_log=True),
        "placement_ca_file": _from_environment("PLACEMENT_CA_FILE", type="path"),
        "placement_validate_certs": _from_environment("PLACEMENT_VALIDATE_CERTS", type="bool", default=True),
        "placement_request_timeout": _from_environment("PLACEMENT_REQUEST_TIMEOUT_S", type="float", default=5.0),
    }


def connection_options() -> Dict[str, Any]:
    """Return the options of both services, which every module takes: an action group sets them for all modules."""
    return dict(etcd_options(), **placement_options())


def wait_options() -> Dict[str, Any]:
    """Return the options of the doc fragment `wait`."""
    return {"wait": {"type": "bool", "default": True}, "timeout": {"type": "int", "default": 300}}


def state_options() -> Dict[str, Any]:
    """Return the option of the doc fragment `state`."""
    return {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}


def connect_etcd(params: Mapping[str, Any]) -> Gateway:
    """Return a client for the etcd that the task names; nothing is sent yet."""
    return Gateway(_connection("etcd", "etcd_endpoints", params), params["etcd_username"], params["etcd_password"])


def connect_placement(params: Mapping[str, Any]) -> Placement:
    """Return a client for the placement service that the task names; nothing is sent yet."""
    return Placement(_connection("placement", "placement_urls", params), params["placement_token"])


def check_timeout(params: Mapping[str, Any]) -> float:
    """Return the option `timeout` in seconds."""
    if params["timeout"] < 1:
        raise ModuleError("timeout: %s is too short; it is in seconds, at least 1" % params["timeout"])
    return float(params["timeout"])


def _connection(service: str, urls_option: str, params: Mapping[str, Any]) -> Connection:
    timeout_option = service + "_request_timeout"
    if not params[timeout_option] > 0:
        raise ModuleError("%s: %s is not more than 0 seconds" % (timeout_option, params[timeout_option]))
    return Connection(
        service=service,
        option=urls_option,
        urls=tuple(url.strip() for url in params[urls_option] if url.strip()),
        request_timeout_s=params[timeout_option],
        validate_certs=params[service + "_validate_certs"],
        ca_file=_file(service + "_ca_file", params),
        cert_file=_file(service + "_cert_file", params),
        key_file=_file(service + "_key_file", params),
    )


def _file(option: str, params: Mapping[str, Any]) -> Optional[str]:
    path: Optional[str] = params.get(option) or None
    if path is not None and not os.access(path, os.R_OK):
        raise ModuleError("%s: the file %s cannot be read" % (option, path))
    return path
