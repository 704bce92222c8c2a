"""What kinds of answer a client wants: the header Accept."""


def quality(accept: str, media: str) -> float:
    """Return how much a client wants a media type: 0 (not at all) to 1, by the range that fits it most closely."""
    kind = media.partition("/")[0]
    closeness = {"*/*": 1, f"{kind}/*": 2, media: 3}
    best, found = 0, 0.0
    for offer in accept.split(","):
        wanted, _, parameters = offer.strip().lower().partition(";")
        close = closeness.get(wanted.strip(), 0)
        if close > best:
            best, found = close, _weight(parameters)
    return found


def accepts(accept: str, media: str) -> bool:
    """Whether a client takes a media type; one that says nothing, or names no media type at all, takes all."""
    return "/" not in accept or quality(accept, media) > 0


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
