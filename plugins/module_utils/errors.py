# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the modules: each message is one sentence for the person who wrote the task.

ModuleError           ends the task
├── Unavailable       no server answered; nothing was changed
├── Unfulfilled       written, but what was asked for did not come about
├── OutcomeUnknown    sent, and the answer was lost: read before trying again
└── Refused           the server understood and said no
"""

from __future__ import annotations

from typing import Any, Dict


class ModuleError(Exception):
    """What ends a task: the message says what, where and the way out."""


class Unavailable(ModuleError):
    """No server answered in time; nothing was changed."""


class Unfulfilled(ModuleError):
    """The task has done its part and what it waited for did not come; `result` is what the module returns."""

    def __init__(self, message: str, result: Dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


class OutcomeUnknown(ModuleError):
    """A write was sent and its answer lost: it may or may not have been carried out."""


class Refused(ModuleError):
    """A server refused a request: `status` is HTTP's, `code` the service's own, as a string."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
