"""Which host runs which generation of an instance."""

from typing import Annotated, ClassVar

import msgspec

from etcdcompute.model.document import Document
from etcdcompute.model.instance import Uuid


class Assignment(Document, frozen=True, kw_only=True):
    """The scheduler's order to one agent, at `/assignments/<host uuid>/<instance uuid>`.

    `generation` is that of the instance document which the agent shall bring about; the scheduler raises it when the
    client changes the instance, which is how an agent hears of changes without watching every instance of the cloud.
    """

    kind: ClassVar[str] = "assignment"

    instance: Uuid
    host: Uuid
    generation: Annotated[int, msgspec.Meta(ge=1)]
    assigned_at: str
