"""What makes two answers the same: everything but the order of lists, the time, and the wording of errors."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from tests.conformance.differential.exchange import Answer, Ask, Service

CANDIDATES = "/allocation_candidates"


def differences(ask: Ask, ours: Answer, theirs: Answer) -> list[str]:
    """Return in what the answers differ, a sentence each."""
    found = []
    if ours.status != theirs.status:
        return [f"status {ours.status}, theirs {theirs.status}"]
    if ask.method == "HEAD":
        # Without a body, what it would be is nobody's business.
        return []
    if ours.headers != theirs.headers:
        found.append(f"headers {dict(ours.headers)}, theirs {dict(theirs.headers)}")
    if ours.status >= 400:
        if _error(ours) != _error(theirs):
            found.append(f"error {_error(ours)}, theirs {_error(theirs)}")
        return found
    if ask.path == CANDIDATES and ours.status == 200:
        return found + _candidate_differences(ours.document, theirs.document)
    if canonical(ours.document) != canonical(theirs.document):
        found.append(f"document {_text(ours.document)}, theirs {_text(theirs.document)}")
    return found


def limit_of(ask: Ask) -> int | None:
    """Return the limit that a query for candidates has, None for none that holds."""
    limits = [value for key, value in ask.query if key == "limit"] if ask.path == CANDIDATES else []
    return int(limits[0]) if limits and limits[0].isdigit() else None


def without_limit(ask: Ask) -> Ask:
    """Return the query for all the candidates."""
    return replace(ask, query=tuple((key, value) for key, value in ask.query if key != "limit"))


def limited_wrongly(limited: Answer, everything: Answer, limit: int) -> list[str]:
    """Return what is wrong with an answer to a query with a limit, seen beside the one without."""
    found = []
    some, every = (Counter(map(canonical, each.document["allocation_requests"])) for each in (limited, everything))
    if some.total() != min(limit, every.total()):
        found.append(f"{some.total()} candidates for limit={limit} of {every.total()}")
    if some - every:
        found.append(f"with a limit come candidates that are none without: {_text(list(some - every))}")
    shown, known = (each.document["provider_summaries"] for each in (limited, everything))
    wrong = [uuid for uuid, summary in shown.items() if known.get(uuid) != summary]
    if wrong:
        found.append(f"with a limit there are other summaries of {wrong}")
    used = {uuid for each in limited.document["allocation_requests"] for uuid in _providers(each)}
    roots = {known[uuid].get("root_provider_uuid", uuid) for uuid in used}
    missing = [
        uuid
        for uuid, summary in known.items()
        if uuid in used or ("root_provider_uuid" in summary and summary["root_provider_uuid"] in roots)
    ]
    if set(shown) != set(missing):
        found.append(f"with a limit the summaries are of {sorted(shown)}, not of {sorted(missing)}")
    return found


def compare(ask: Ask, ours: Service, theirs: Service) -> tuple[list[str], Answer, Answer]:
    """Ask both, and return in what they differ, and their answers."""
    limit = limit_of(ask)
    mine, reference = ours.ask(ask), theirs.ask(ask)
    if limit is None or (mine.status, reference.status) != (200, 200):
        return differences(ask, mine, reference), mine, reference
    everything = without_limit(ask)
    all_mine, all_reference = ours.ask(everything), theirs.ask(everything)
    found = differences(everything, all_mine, all_reference)
    if found:
        return found, all_mine, all_reference
    return limited_wrongly(mine, all_mine, limit), mine, reference


def canonical(document: Any) -> str:
    """Return a document as a text that is the same whatever the order of its lists."""
    return json.dumps(_sorted(document), sort_keys=True)


def _sorted(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _sorted(value) for key, value in document.items()}
    if isinstance(document, list):
        return sorted((_sorted(value) for value in document), key=lambda value: json.dumps(value, sort_keys=True))
    return document


def _candidate_differences(ours: Any, theirs: Any) -> list[str]:
    found = []
    mine, reference = (Counter(map(canonical, each["allocation_requests"])) for each in (ours, theirs))
    found += [f"only ours: {each} ({count}x)" for each, count in (mine - reference).items()]
    found += [f"only theirs: {each} ({count}x)" for each, count in (reference - mine).items()]
    mine_shown, reference_shown = ours["provider_summaries"], theirs["provider_summaries"]
    for uuid in sorted({*mine_shown, *reference_shown}):
        one, other = mine_shown.get(uuid), reference_shown.get(uuid)
        if canonical(one) != canonical(other):
            found.append(f"summary of {uuid}: {_text(one)}, theirs {_text(other)}")
    return found


def _providers(allocation_request: Any) -> list[str]:
    allocations = allocation_request["allocations"]
    if isinstance(allocations, dict):
        return list(allocations)
    return [each["resource_provider"]["uuid"] for each in allocations]


def _error(answer: Answer) -> tuple[Any, ...]:
    errors = answer.document.get("errors") if isinstance(answer.document, dict) else None
    first = errors[0] if errors else {}
    return first.get("status"), first.get("title"), first.get("code")


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True)
