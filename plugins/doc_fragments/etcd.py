# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reaches etcd."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of `options.etcd_options`."""

    DOCUMENTATION = r"""
options:
  etcd_endpoints:
    description:
      - URLs of etcd's clients' port. The first that answers is used.
      - The modules speak to etcd's JSON gateway, which every etcd from 3.4 on has and which needs no setting.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_ENDPOINTS) is used.
    type: list
    elements: str
    default: ["http://127.0.0.1:2379"]
  etcd_username:
    description:
      - User of etcd, where etcd has authentication enabled.
      - The gateway does not authenticate by the common name of a client certificate.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_USERNAME) is used.
    type: str
  etcd_password:
    description:
      - Password of O(etcd_username).
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_PASSWORD) is used.
    type: str
  etcd_ca_file:
    description:
      - File with the certificates (PEM) by which the endpoints' own are checked; the system's unless given.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_CA_FILE) is used.
    type: path
  etcd_cert_file:
    description:
      - File with the client certificate (PEM) that an etcd with C(--client-cert-auth) asks for.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_CERT_FILE) is used.
    type: path
  etcd_key_file:
    description:
      - File with the key (PEM) of O(etcd_cert_file).
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_KEY_FILE) is used.
    type: path
  etcd_validate_certs:
    description:
      - Whether the endpoints' certificates are checked. Switch it off for experiments only.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_VALIDATE_CERTS) is used.
    type: bool
    default: true
  etcd_request_timeout:
    description:
      - How many seconds the endpoints together may take to answer one request.
      - If not given, the environment variable E(ETCDCOMPUTE_ETCD_REQUEST_TIMEOUT_S) is used.
    type: float
    default: 5.0
"""
