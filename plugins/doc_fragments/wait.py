# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what was asked for."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of `options.wait_options`."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until what was asked for has come about, or could not.
      - The wait ends the moment that etcd knows of it, as it stands on a watch; it survives restarts of etcd.
    type: bool
    default: true
  timeout:
    description: How many seconds to wait at most. The message of a timeout says how far it came and what is missing.
    type: int
    default: 300
"""
