"""Content negotiation (RFC 9110, 12.5.1): which of the types on offer an Accept header likes best."""

from collections.abc import Iterable, Iterator


def preferred(accept: str, offered: Iterable[str]) -> str | None:
    """One of `offered`, or None when `accept` takes none of them. Parameters other than q are ignored.

    Among equals the one named before a wildcard wins, then the one named first, then the one offered first.
    """
    ranges = list(_ranges(accept)) or [("*/*", 1.0)]
    best: tuple[tuple[float, int, int], str] | None = None
    for media_type in offered:
        matches = [
            (_specificity(range_, media_type), quality, -position)
            for position, (range_, quality) in enumerate(ranges)
            if _specificity(range_, media_type)
        ]
        if not matches:
            continue
        specificity = max(match[0] for match in matches)  # the closest range decides, whatever its quality
        quality, position = max(match[1:] for match in matches if match[0] == specificity)
        rank = (quality, specificity, position)
        if quality > 0 and (best is None or rank > best[0]):
            best = rank, media_type
    return best[1] if best else None


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not range_:
            continue
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        yield range_, quality


def _specificity(range_: str, media_type: str) -> int:
    """3 for the type itself, 2 for its kind, 1 for anything, 0 for no match."""
    if range_ == media_type:
        return 3
    if range_ == f"{media_type.split('/')[0]}/*":
        return 2
    return 1 if range_ == "*/*" else 0
