# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reaches the placement service."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of `options.placement_options`."""

    DOCUMENTATION = r"""
options:
  placement_urls:
    description:
      - URLs of the placement service. The first that answers is used.
      - If not given, the environment variable E(ETCDCOMPUTE_PLACEMENT_URLS) is used.
    type: list
    elements: str
    default: ["http://127.0.0.1:8778"]
  placement_token:
    description:
      - The token that the service asks for, if it does.
      - If not given, the environment variable E(ETCDCOMPUTE_PLACEMENT_TOKEN) is used.
    type: str
  placement_ca_file:
    description:
      - File with the certificates (PEM) by which the service's own are checked; the system's unless given.
      - If not given, the environment variable E(ETCDCOMPUTE_PLACEMENT_CA_FILE) is used.
    type: path
  placement_validate_certs:
    description:
      - Whether the service's certificates are checked. Switch it off for experiments only.
      - If not given, the environment variable E(ETCDCOMPUTE_PLACEMENT_VALIDATE_CERTS) is used.
    type: bool
    default: true
  placement_request_timeout:
    description:
      - How many seconds the servers together may take to answer one request.
      - If not given, the environment variable E(ETCDCOMPUTE_PLACEMENT_REQUEST_TIMEOUT_S) is used.
    type: float
    default: 5.0
"""
