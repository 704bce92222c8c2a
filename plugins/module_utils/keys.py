# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys in etcd, as etcdcompute.model.keys has them; a test compares the two."""

from __future__ import annotations

PREFIX = "/etcdcompute/v1"

INSTANCES = PREFIX + "/instances/"
INSTANCE_NAMES = PREFIX + "/names/instances/"
INSTANCE_STATUSES = PREFIX + "/status/instances/"
ASSIGNMENTS = PREFIX + "/assignments/"
ALIVE = PREFIX + "/alive/"


def instance(uuid: str) -> str:
    """Key of the desired instance."""
    return INSTANCES + uuid


def instance_name(name: str) -> str:
    """Key that reserves an instance's name; its value is the uuid."""
    return INSTANCE_NAMES + name


def instance_status(uuid: str) -> str:
    """Key of an instance's status."""
    return INSTANCE_STATUSES + uuid


def assignment(host_uuid: str, instance_uuid: str) -> str:
    """Key of one assignment."""
    return ASSIGNMENTS + host_uuid + "/" + instance_uuid


def alive(host_uuid: str) -> str:
    """Key whose presence is a host's liveness."""
    return ALIVE + host_uuid


def last_segment(key: str) -> str:
    """Return what stands behind the last slash: the uuid or name that a key is about."""
    return key.rpartition("/")[2]
