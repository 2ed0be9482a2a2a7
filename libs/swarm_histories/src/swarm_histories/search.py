"""The search for an order in which the operations on one key can have taken effect, each between its call and return.

The search is Wing and Gong's (1993): take an operation that no other has returned before, go on with the rest, and
go back where nothing is left to take. What was reached once in another order is not looked at again (Lowe 2017): a
*configuration* is which operations were taken and the value they left. Calls and returns stand in a doubly linked
list in the order of time, out of which an operation is lifted when it is taken; who may be taken next stands before
the first return.

An operation without a return may be taken at any time after its call, or never. A configuration that has used some
of those is no better than one that is otherwise the same and has used fewer, which is how configurations are
remembered.

What makes it fast is what need not be tried. Each rule says why leaving it out loses no order:

*Reads.* A read of the value that is there is taken at once: it changes nothing and can only be in the way later.

*Alike.* Of operations that need and do the same only the one that returns first is tried: they can change places.

*Dead values.* A value that no operation to come needs is as good as any other such value: they are one state,
``DEAD``. A write of one is taken at once where the value is dead already, and before any other write that could be
taken instead.

*Lost values.* A value that some operation still needs, and that no operation to come can make, is not written over.

*Needs.* Who returns first and needs another value has nothing to wait for if nobody who may be taken makes it.

*Episodes.* If a dead value was followed by others that all have nobody left who needs them, until the value is dead
again, then what was taken in between might as well be taken first in any order: there is no going back behind it.
This is what makes histories of distinct values take little more than one pass (Gibbons and Korach 1997 have another
way for these).

*Crashed writes.* An operation without a return is taken only right before one that needs what it makes.

With appends, a value is dead when no operation needs it or any text that begins with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from swarm_histories.models import NIL, Act

DEAD = ""
"""The state in which nobody needs the value; no text of JSON is empty."""


class Entry(NamedTuple):
    """One operation of a partition: what it needs and does, and when; ``returned`` is ``None``: perhaps never."""

    act: Act
    called: int
    returned: int | None


class _Frame(NamedTuple):
    """What is needed to take back one operation, and what else could have been taken instead."""

    taken: int
    state: str
    base: int
    window: int
    used: int
    anchor: int
    clean: bool
    others: list[int]


class Search:
    """One partition; :meth:`advance` until it says whether there is an order.

    Args:
        entries: Its operations.
        begin: The value that is there at first.

    Attributes:
        steps: Configurations looked at so far.
    """

    def __init__(self, entries: Sequence[Entry], begin: str = NIL) -> None:
        self.steps = 0
        sure = sorted((one for one in entries if one.returned is not None), key=lambda one: one.called)
        unsure = _useful(sure, [one for one in entries if one.returned is None])
        self._count = count = len(sure)
        every = [*sure, *unsure]
        self._needs = [one.act.needs for one in every]
        self._makes = [one.act.makes for one in every]
        self._adds = [one.act.adds for one in every]
        self._called = [one.called for one in every]
        self._kinds = _numbered([one.act for one in every])
        self._texts = any(one.act.adds is not None for one in every)
        self._targets = sorted({need for need in self._needs if need is not None})
        self._list(sure)
        self._group(range(count, len(every)))
        self._must: dict[str, int] = {}  # operations with a return that are to come and need a value
        self._sources: dict[str, int] = {}  # operations to come that make it
        self._wished = frozenset(need for need in self._needs[count:] if need is not None)
        self._left = self._blind = 0
        for op in range(len(every)):
            self._count_in(op, 1)
        self._base = self._window = self._used = 0
        self._frames: list[_Frame] = []
        self._seen: dict[tuple[int, int, str], list[int]] = {}
        self._state = self._live(begin)
        self._anchor, self._clean = (0 if self._state == DEAD else -1), True
        # A value that is needed and that nobody makes: no search is needed to see it.
        self._hopeless = not self._texts and any(
            need != begin and not self._sources.get(need, 0) for need in self._must
        )

    def _list(self, sure: list[Entry]) -> None:
        """Make the list: node 2i + 1 is the call of i, 2i + 2 its return, 0 the head."""
        nodes = sorted(
            [(one.called, 0, 2 * i + 1) for i, one in enumerate(sure)]
            + [(one.returned or 0, 1, 2 * i + 2) for i, one in enumerate(sure)]
        )
        order = [0, *(node for _, _, node in nodes)]
        self._after = [0] * len(order)
        self._before = [0] * len(order)
        for left, right in zip(order, [*order[1:], 0], strict=True):
            self._after[left], self._before[right] = right, left
        self._returned = [one.returned or 0 for one in sure]

    def _group(self, ops: range) -> None:
        """Put operations without a return that do the same together, in the order of their calls."""
        groups: dict[int, list[int]] = {}
        for op in sorted(ops, key=lambda op: self._called[op]):
            groups.setdefault(self._kinds[op], []).append(op)
        self._groups = list(groups.values())
        self._makers: dict[str, list[int]] = {}
        for number, group in enumerate(self._groups):
            if (made := self._makes[group[0]]) is not None:
                self._makers.setdefault(made, []).append(number)
        self._spent = [0] * len(self._groups)
        self._group_of = {kind: number for number, kind in enumerate(groups)}

    def _count_in(self, op: int, change: int) -> None:
        need, made = self._needs[op], self._makes[op]
        if need is not None and op < self._count:
            self._must[need] = self._must.get(need, 0) + change
            self._left += change
        if made is not None:
            self._sources[made] = self._sources.get(made, 0) + change
            if need is None:
                self._blind += change

    def _live(self, state: str) -> str:
        """Return the state, or ``DEAD`` if nobody to come needs it."""
        if not self._texts:
            return state if self._must.get(state, 0) or state in self._wished else DEAD
        if state in (DEAD, NIL):
            return state if self._targets else DEAD
        at = bisect_left(
            self._targets, state[:-1]
        )  # without the closing quotation mark: a text that begins so
        return state if at < len(self._targets) and self._targets[at].startswith(state[:-1]) else DEAD

    # --- the search ---------------------------------------------------------------------------------------

    def advance(self, steps: int) -> bool | None:
        """Look at so many more configurations.

        Returns:
            Whether there is an order; ``None``: not known yet.
        """
        if self._hopeless:
            return False
        until = self.steps + steps
        while self.steps < until:
            self.steps += 1
            if self._left == 0:
                return True  # all that is left are writes and appends, which are always possible
            choices = self._choices()
            if not choices and not (choices := self._back()):
                return False
            op = choices.pop()
            self._take(op, choices)
        return None

    def _choices(self) -> list[int]:
        """Return whom to take next, the most promising last; empty: nobody, here is no order."""
        state, needs, makes, after = self._state, self._needs, self._makes, self._after
        enabled: list[int] = []
        node = after[0]
        while node & 1:
            op = node >> 1
            need = needs[op]
            if need is None:
                made = makes[op]
                if state == DEAD and made is not None and self._live(made) == DEAD:
                    return [op]  # a dead value over a dead value
            elif need == state and (makes[op] is None or makes[op] == need):
                return [op]  # a read of what is there
            enabled.append(op)
            node = after[node]
        if self._texts and state == DEAD and not self._blind:
            return []
        if not self._new():
            return []
        return self._ranked(enabled, (node >> 1) - 1)

    def _new(self) -> bool:
        """Remember this configuration; say whether it, or one that is better, has not been met before."""
        key = (self._base, self._window, self._state)
        used = self._used
        met = self._seen.get(key)
        if met is None:
            self._seen[key] = [used]
            return True
        if any(before & used == before for before in met):
            return False
        met[:] = [before for before in met if before & used != used]
        met.append(used)
        return True

    def _ranked(self, enabled: list[int], first: int) -> list[int]:
        state, needs, makes = self._state, self._needs, self._makes
        target = needs[first]
        if target == state:
            target = None
        returned, kinds, first_return = self._returned, self._kinds, self._returned[first]
        best: dict[int, int] = {}
        for op in enabled:
            other = best.get(kinds[op])
            if other is None or returned[op] < returned[other]:
                best[kinds[op]] = op
        dead = [
            op
            for op in best.values()
            if needs[op] is None and makes[op] is not None and self._leads_to(op) == DEAD
        ]
        unsure = self._unsure(enabled, best, first_return)
        if (
            target is not None
            and not self._texts
            and not any(makes[op] == target for op in best.values())
            and not self._can_be_made(target, first_return)
        ):
            return []
        found: list[tuple[bool, bool, int, int]] = []
        exact = not self._texts
        spare = min(dead, key=returned.__getitem__) if dead else None
        for op in [*best.values(), *unsure]:
            need = needs[op]
            if need is not None:
                if need != state or makes[op] is None:
                    continue
            elif spare is not None and op != spare and makes[op] is not None:
                continue  # the dead one first
            if exact and self._loses(op):
                continue
            leads = self._leads_to(op)
            sure = op < self._count
            found.append(
                (leads == DEAD and not exact, makes[op] != target, returned[op] if sure else 1 << 62, op)
            )
        found.sort(reverse=True)
        return [op for *_, op in found]

    def _leads_to(self, op: int) -> str:
        made, added = self._makes[op], self._adds[op]
        if made is not None:
            return self._live(made)
        if added is None:
            return self._state
        if self._state == DEAD:
            return DEAD
        return self._live(f'"{added}"' if self._state == NIL else f'{self._state[:-1]}{added}"')

    def _loses(self, op: int) -> bool:
        """Say whether this would write over a value that is needed and cannot come again."""
        state = self._state
        if state == DEAD or self._makes[op] == state:
            return False
        needed = self._must.get(state, 0) - (op < self._count and self._needs[op] == state)
        return needed > 0 and not self._sources.get(state, 0)

    def _next_unsure(self, group: int, before: int) -> int | None:
        ops, spent = self._groups[group], self._spent[group]
        return ops[spent] if spent < len(ops) and self._called[ops[spent]] <= before else None

    def _unsure(self, enabled: list[int], best: dict[int, int], before: int) -> list[int]:
        """Return those without a return that may be taken and would be of use to somebody who comes right after."""
        if not self._groups:
            return []
        state, kinds = self._state, self._kinds
        if self._texts:
            numbers: list[int] = list(range(len(self._groups)))
        else:
            wanted = [need for op in enabled if (need := self._needs[op]) is not None and need != state]
            numbers, met, at = [], dict.fromkeys(wanted), 0
            wanted = list(met)
            while at < len(wanted):
                for number in self._makers.get(wanted[at], ()):
                    op = self._next_unsure(number, before)
                    if op is None:
                        continue
                    numbers.append(number)
                    need = self._needs[op]
                    if need is not None and need not in met:
                        met[need] = None
                        wanted.append(need)
                at += 1
        found = []
        for number in numbers:
            op = self._next_unsure(number, before)
            if op is None or kinds[op] in best:
                continue
            leads = self._leads_to(op)
            if leads not in (state, DEAD):
                found.append(op)
        return found

    def _can_be_made(self, value: str, before: int) -> bool:
        return any(self._next_unsure(number, before) is not None for number in self._makers.get(value, ()))

    # --- one operation taken, or taken back ---------------------------------------------------------------

    def _take(self, op: int, others: list[int]) -> None:
        state = self._state
        self._frames.append(
            _Frame(op, state, self._base, self._window, self._used, self._anchor, self._clean, others)
        )
        made, added = self._makes[op], self._adds[op]
        self._count_in(op, -1)
        if op < self._count:
            self._lift(op)
            window = self._window | 1 << (op - self._base)
            if window & 1:
                gone = (window ^ (window + 1)).bit_length() - 1
                self._base += gone
                window >>= gone
            self._window = window
        else:
            self._spent[self._group_of[self._kinds[op]]] += 1
            self._used |= 1 << (op - self._count)
        if added is not None:
            self._state = self._leads_to(op)
            return
        self._state = self._live(state if made is None else made)
        if self._texts:
            return
        if made is not None and state not in (made, DEAD) and self._live(state) != DEAD:
            self._clean = False
        if self._state == DEAD:
            if self._anchor >= 0 and self._clean:
                for frame in self._frames[self._anchor :]:
                    frame.others.clear()
            self._anchor, self._clean = len(self._frames), True

    def _back(self) -> list[int]:
        """Take back until something else can be taken; return what, or nothing if there is nothing left to try."""
        while self._frames:
            frame = self._frames.pop()
            op = frame.taken
            self._count_in(op, 1)
            if op < self._count:
                self._drop(op)
            else:
                self._spent[self._group_of[self._kinds[op]]] -= 1
            self._state, self._base, self._window, self._used = frame[1:5]
            self._anchor, self._clean = frame.anchor, frame.clean
            if frame.others:
                return frame.others
        return []

    def _lift(self, op: int) -> None:
        """Take an operation's call and return out of the list."""
        after, before = self._after, self._before
        for node in (2 * op + 1, 2 * op + 2):
            left, right = before[node], after[node]
            after[left], before[right] = right, left

    def _drop(self, op: int) -> None:
        """Put both back where they were."""
        after, before = self._after, self._before
        for node in (2 * op + 2, 2 * op + 1):
            after[before[node]] = before[after[node]] = node


def _numbered(acts: Sequence[Act]) -> list[int]:
    numbers: dict[Act, int] = {}
    return [numbers.setdefault(act, len(numbers)) for act in acts]


def _useful(sure: Sequence[Entry], unsure: Sequence[Entry]) -> list[Entry]:
    """Return those without a return that make what somebody needs; the others may as well never have happened."""
    if any(one.act.adds is not None for one in (*sure, *unsure)):
        return [one for one in unsure if one.act.makes is not None or one.act.adds is not None]
    needed = {one.act.needs for one in sure}
    kept: list[Entry] = []
    rest = list(unsure)
    while rest:
        found = [one for one in rest if one.act.makes in needed and one.act.makes is not None]
        if not found:
            break
        kept += found
        rest = [one for one in rest if one.act.makes not in needed]
        needed |= {one.act.needs for one in found}
    return kept
