"""An explanation as lines for people."""

from collections.abc import Iterator, Sequence

from etcdcompute.placement.insight.explanation import Code, Explanation, Kind, Relaxation, Stage


def to_text(explanation: Explanation) -> str:
    """Return the lines: a group and the steps that took something away from it, the whole, what would help."""
    return "".join(f"{line}\n" for line in _lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    for group in explanation.groups:
        yield f'{group.fits} of {group.of} {group.unit} fit group "{group.group}" ({group.wanted})'
        yield from _stages(group.stages, group.of)
    if explanation.stages:
        yield f"{explanation.fits} of {explanation.of} {explanation.unit} fit the whole request"
        yield from _stages(explanation.stages, explanation.of)
    several = len(explanation.groups) > 1
    helpful = [each for each in explanation.relaxations if each.fits > explanation.fits]
    for relaxation in helpful:
        yield f"without {_dropped(relaxation, several)}: {relaxation.fits} would fit"
    if not explanation.fits and explanation.relaxations and not helpful:
        yield "to leave out any one of these things would not help"
    if not explanation.exact:
        yield "it would take too long to tell for all of them: those that are not known count as fitting"


def _stages(stages: Sequence[Stage], of: int) -> Iterator[str]:
    width = len(str(of))
    for stage in stages:
        if stage.before > stage.after:
            what = f"{stage.code} {stage.subject}{_detail(stage)}"
            yield f"  {stage.before:>{width}} → {stage.after:<{width}} {what}"


def _detail(stage: Stage) -> str:
    best = stage.samples[0] if stage.samples else None
    if best is None or best.requested is None or stage.code is Code.NO_INVENTORY:
        return ""
    if stage.code is Code.INSUFFICIENT_CAPACITY and stage.kind is Kind.FILTERED:
        return f": want {best.requested}, largest capacity {best.capacity} ({best.name})"
    return f": want {best.requested}, largest free {best.largest_free} ({best.name})"


def _dropped(relaxation: Relaxation, several: bool) -> str:
    subject = relaxation.subject
    if relaxation.parameter == "group":
        return f'group "{subject}"'
    what = subject if relaxation.parameter in ("resources", "required") else f"{relaxation.parameter} {subject}"
    return f'{what} in group "{relaxation.group}"' if several and relaxation.group is not None else what
