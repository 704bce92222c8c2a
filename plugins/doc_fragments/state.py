# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a thing's state can be."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of `options.state_options`."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(present) sees to it that the thing is there as the task says; what the task leaves out stays as it is.
      - V(absent) sees to it that it is not there. That it was not there already is success.
    type: str
    choices: [present, absent]
    default: present
"""
