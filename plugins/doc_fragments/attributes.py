# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of the modules."""

from __future__ import annotations


class ModuleDocFragment:
    """What holds for all modules, and two variants: those that write and those that only read."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/etcdcompute.cloud.all) in C(module_defaults) to set the connection options once.
      - For that every module takes those of both services, etcd and placement, and uses the ones it needs.
    support: full
    membership:
      - etcdcompute.cloud.all
  platform:
    description: Where the module can run; it needs Python and network access to the services, nothing else.
    support: full
    platforms: all
"""

    WRITES = r"""
options: {}
attributes:
  check_mode:
    description: Predicts what would change without changing it.
    support: full
  diff_mode:
    description: Shows the normalised documents before and after.
    support: full
"""

    READS = r"""
options: {}
attributes:
  check_mode:
    description: Changes nothing, in check mode or not.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: N/A
"""
