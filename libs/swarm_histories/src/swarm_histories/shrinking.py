"""The smallest part of a history that refutes it.

What may be left out is what nobody who is kept depends on: reads, and operations whose value no other that is kept
needs. If the whole has an order, so has the part without them; hence what refutes the part refutes the whole.
(Without a write, its reads would refute anything: it goes only after them.)

Where many are left, because every value is needed by somebody, the beginning is left out as well: what is still refuted
whatever value was there at some moment refutes the whole. Who was under way then may have taken effect before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swarm_histories.models import NIL
from swarm_histories.search import DEAD, Entry, Search

Part = dict[int, Entry]
_STEPS, _ALL_STEPS = 50_000, 400_000
"""For one try, and for all: what is not decided within them is kept, for nothing is known of it."""
_PLACES = 20_000
_MANY = 10
"""More operations than this are also cut at the front."""


class Shrinking:
    """Looks for the smallest part of ``whole``, which is operations by any number that have no order.

    Attributes:
        since: From when on the part is; ``None``: from the beginning, when there is no value.
        minimal: Whether every try was decided, so that no operation of what was found can be left out.
    """

    def __init__(self, whole: Mapping[int, Entry]) -> None:
        self.since: int | None = None
        self.minimal = True
        self._whole = dict(whole)
        self._steps = _ALL_STEPS

    def smallest(self) -> Part:
        """Return a part for which there is no order, under the same numbers.

        Who returned after the last return that matters has none there.
        """
        part = self._smaller(self._shortest(self._whole))
        if len(part) > _MANY and all(entry.act.adds is None for entry in part.values()):
            part = self._smaller(self._latest(part))
        return part

    def _smaller(self, part: Part) -> Part:
        size = len(part) // 2
        while size:
            kept = self._without_chunks(part, size)
            size = size // 2 if size > 1 or len(kept) == len(part) else 1
            part = kept
        return self._shortest(part)

    def _latest(self, whole: Part) -> Part:
        """Return the shortest end that is refuted whatever value was there when it began; sets ``since``."""
        moments = sorted(entry.called for entry in whole.values())
        low, high = 0, len(moments) - 1
        while low < high:
            middle = (low + high + 1) // 2
            self.since = moments[middle]
            if self._refuted(_from(whole, moments[middle])):
                low = middle
            else:
                high = middle - 1
        self.since = moments[low] if low else None
        return _from(whole, moments[low]) if low else whole

    def _refuted(self, part: Part) -> bool:
        for value in begins(part, self.since):
            search = Search(list(part.values()), value)
            found = search.advance(max(0, min(_STEPS, self._steps)))
            self._steps -= search.steps
            if found is None:
                self.minimal = False
            if found is not False:
                return False
        return True

    def _shortest(self, whole: Part) -> Part:
        """Return the shortest beginning that is refuted: up to a return, what has not returned then being open."""
        moments = sorted(entry.returned for entry in whole.values() if entry.returned is not None)
        low, high = 0, len(moments) - 1
        while low < high:
            middle = (low + high) // 2
            if self._refuted(_until(whole, moments[middle])):
                high = middle
            else:
                low = middle + 1
        return _until(whole, moments[low])

    def _without_chunks(self, part: Part, size: int) -> Part:
        """Leave out so many neighbours at a time, wherever what is left is still refuted."""
        order = sorted(part, key=lambda at: part[at].called)
        for start in reversed(range(0, len(order), size)):
            chunk = [at for at in order[start : start + size] if at in part]
            smaller = _without(part, chunk)
            if len(smaller) < len(part) and self._refuted(smaller):
                part = smaller
        return part


def begins(part: Part, since: int | None) -> list[str]:
    """Return the values that may be there at first: none, or from some moment on whatever matters."""
    if since is None:
        return [NIL]
    needs = (entry.act.needs for entry in part.values())
    return [*dict.fromkeys(need for need in needs if need is not None), DEAD]


def _from(whole: Part, moment: int) -> Part:
    """Leave out who had returned; who was under way may have taken effect before, so it need not any more."""
    cut = {
        at: entry if entry.called >= moment else entry._replace(returned=None)
        for at, entry in whole.items()
        if entry.returned is None or entry.returned >= moment
    }
    return {
        at: entry for at, entry in cut.items() if entry.returned is not None or entry.act[1:] != (None, None)
    }


def _until(whole: Part, moment: int) -> Part:
    cut = {
        at: entry
        if entry.returned is not None and entry.returned <= moment
        else entry._replace(returned=None)
        for at, entry in whole.items()
        if entry.called <= moment
    }
    # A read that has not returned says nothing.
    return {
        at: entry for at, entry in cut.items() if entry.returned is not None or entry.act[1:] != (None, None)
    }


def _without(part: Part, chunk: Sequence[int]) -> Part:
    """Return a part without those of ``chunk`` on which nobody else depends."""
    out = dict.fromkeys(chunk)
    while True:
        kept = {at: entry for at, entry in part.items() if at not in out}
        needs = {entry.act.needs: None for entry in kept.values() if entry.act.needs is not None}
        texts = any(entry.act.adds is not None for entry in part.values())
        back = [at for at in out if _needed(part[at], needs, texts=texts)]
        if not back:
            return kept
        for at in back:
            del out[at]


def _needed(entry: Entry, needs: Iterable[str], *, texts: bool) -> bool:
    made, added = entry.act.makes, entry.act.adds
    if added is not None:
        return any(added in need for need in needs)
    if made is None:
        return False
    return any(need.startswith(made[:-1]) if texts and made != NIL else need == made for need in needs)


def readable(part: Part, last: int, since: int | None) -> list[str]:
    """Return the values that operation ``last`` could have needed so that there is an order."""
    others = {at: entry for at, entry in part.items() if at != last}
    mine = part[last]
    found = []
    for value in _values(others, mine):
        instead = others | {last: mine._replace(act=mine.act._replace(needs=value))}
        if any(Search(list(instead.values()), begin).advance(_STEPS) for begin in begins(part, since)):
            found.append(value)
    return found


def _values(others: Part, mine: Entry) -> list[str]:
    """Return the values that can be there while ``mine`` is under way, and perhaps some others."""
    if all(entry.act.adds is None for entry in others.values()):
        made = sorted(others.values(), key=lambda entry: entry.called)
        return list(dict.fromkeys([NIL, *(entry.act.makes for entry in made if entry.act.makes is not None)]))
    # Texts: go through all orders, as many as there may be places for.
    ops = sorted(others.values(), key=lambda entry: entry.called)
    met: dict[tuple[int, str], None] = {(0, NIL): None}
    waiting = [(0, NIL)]
    while waiting and len(met) < _PLACES:
        taken, state = waiting.pop()
        rest = [at for at in range(len(ops)) if not taken >> at & 1]
        limit = min(
            [ops[at].returned or 1 << 62 for at in rest if ops[at].returned is not None], default=1 << 62
        )
        for at in rest:
            entry = ops[at]
            if entry.called > limit or (entry.act.needs is not None and entry.act.needs != state):
                continue
            after = state
            if entry.act.makes is not None:
                after = entry.act.makes
            elif entry.act.adds is not None:
                after = f'"{entry.act.adds}"' if state == NIL else f'{state[:-1]}{entry.act.adds}"'
            place = (taken | 1 << at, after)
            if place not in met and (entry.called <= (mine.returned or 0)):
                met[place] = None
                waiting.append(place)
    return sorted({state: None for _, state in met}, key=lambda text: (len(text), text))
