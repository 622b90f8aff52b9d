"""Entries with an unreadable id: neither the end of a known call nor the start of another. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from .call_identity import CallNames, has_transaction_id, lesser_identities
from .call_state import CallState, ListedCall
from .listing import Listing

_MOST_COMPARISONS = 1000
"""Pairs of a missing call and an unidentified entry to look into; beyond that every missing call stays."""


def keep_unidentified(
    before: Mapping[str, CallState],
    after: dict[str, CallState],
    last: Listing | None,
    listing: Listing,
    doubtful: frozenset[str],
) -> frozenset[str]:
    """Find the missing calls that may be among the entries with an unreadable id.

    Args:
        before: The known calls, by identity.
        after: The calls of the new listing, by identity. Entries that may be a known call are taken out. An entry
            with a new transaction id is moved to the known identity of its call.
        last: The listing before.
        listing: The new listing.
        doubtful: The result for the listing before.

    Returns:
        The identities of calls missing in the new listing, but not ended.
    """
    _move_to_known_identities(before, after)
    unidentified = [each for each in listing.entries if not has_transaction_id(each.identity)]
    unidentified = [each for each in unidentified if each.identity is None or each.identity not in before]
    missing = [identity for identity in before if identity not in after]
    if not unidentified or not missing:
        return frozenset()
    fresh = _fresh(unidentified, last)
    if len(missing) * len(unidentified) > _MOST_COMPARISONS:
        kept, stand_ins = set(missing), unidentified
    else:
        kept, stand_ins = _match(before, missing, unidentified, fresh, doubtful)
    for entry in stand_ins:
        if entry.identity is not None:
            after.pop(entry.identity, None)
    return frozenset(kept)


def _match(
    before: Mapping[str, CallState],
    missing: Iterable[str],
    unidentified: list[ListedCall],
    fresh: list[ListedCall],
    doubtful: frozenset[str],
) -> tuple[set[str], list[ListedCall]]:
    """Pair missing calls with the entries they may be, and return the calls to keep and their entries."""
    names = {id(entry): entry.names or CallNames() for entry in unidentified}
    kept: set[str] = set()
    stand_ins: list[ListedCall] = []
    for identity in missing:
        known = before[identity].names or CallNames()
        # An entry that stood beside the call in the last response is not the call.
        candidates = unidentified if identity in doubtful else fresh
        if found := [entry for entry in candidates if names[id(entry)].may_be_same(known)]:
            kept.add(identity)
            stand_ins += found
    return kept, stand_ins


def _fresh(unidentified: list[ListedCall], last: Listing | None) -> list[ListedCall]:
    """Return the entries missing in the last listing."""
    had = Counter(entry.json for entry in last.entries if not has_transaction_id(entry.identity)) if last else Counter()
    found = []
    for entry in unidentified:
        had[entry.json] -= 1
        if had[entry.json] < 0:
            found.append(entry)
    return found


def _move_to_known_identities(before: Mapping[str, CallState], after: dict[str, CallState]) -> None:
    """Give an entry with a new transaction id the known lesser identity of its call."""
    lesser = {identity for identity in before if identity not in after and not has_transaction_id(identity)}
    if not lesser:
        return
    for identity in [each for each in after if each not in before and has_transaction_id(each)]:
        names = after[identity].names
        if names is not None and (known := lesser & lesser_identities(names)):
            lesser -= known
            after[min(known)] = after.pop(identity)
