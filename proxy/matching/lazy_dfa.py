"""All patterns and words of a pass as one deterministic automaton with registers, built lazily, shared by all streams.

A state is an ordered partition: groups of items, each with the place where its matches began, oldest first. An item
stands only in the oldest group that reached it, because a match that began earlier covers whatever a later one in the
same place would. The places themselves are not part of the state: a scan keeps them in registers, one per group, and a
transition says which registers stay. So a state depends on nothing but the text read, transitions can be cached per
character, and the first register is the earliest beginning of a match that is still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import attrgetter, or_
from typing import NamedTuple

from proxy.matching.charsets import EVERYTHING, CharSet
from proxy.matching.compiled import CompiledRule, HoldClass
from proxy.matching.edges import INVISIBLE, MOST_INVISIBLE
from proxy.matching.nfa import Item
from proxy.matching.words import WordCursor

MAX_TRANSITIONS = 200_000


class Accept(NamedTuple):
    """A rule has matches that end here; they began at these registers, oldest first."""

    number: int
    registers: tuple[int, ...]


class Event(NamedTuple):
    """What makes a transition rare: matches that end, before the character that was read or after it.

    keep: the registers to take the new ones from, where that is more than a cut: the numbers of old ones, and the
          number one past the last for "begins here"
    only: the one match that ends after the character, when there is nothing else to do and nothing to ask
    """

    before: tuple[Accept, ...]
    after: tuple[Accept, ...]
    keep: tuple[int, ...] | None
    only: Accept | None = None


class Change(NamedTuple):
    """What a transition does to the registers: first some are cut out, then a new one may begin.

    event: what else there is to do; None in nearly all transitions
    """

    cut: slice | None
    begins: bool
    event: Event | None

    def applied(self, registers: Sequence[int], position: int) -> list[int]:
        """The registers after the character at `position`."""
        if self.event is not None and self.event.keep is not None:
            starts = [*registers, position]
            return [starts[k] for k in self.event.keep]
        out = list(registers)
        if self.cut is not None:
            del out[self.cut]
        return [*out, position] if self.begins else out


AnyItem = Item | WordCursor
Step = tuple["State", Change | None]


class Watched(NamedTuple):
    """The registers of a state that a scan has to look at; see State."""

    held: tuple[tuple[int, int], ...]
    overflow: tuple[tuple[int, HoldClass], ...]
    validated: int
    special: bool


class Atom(frozenset[CharSet]):
    """The sets that a character is in: characters with the same atom cannot be told apart.

    char:   the first such character that was seen
    shared: more than one was
    """

    char = ""
    shared = False


class Move:
    """A group after a character: its next group (None: dead), and the rules with matches that end before or after it.

    ends: there are such rules
    """

    __slots__ = ("after", "before", "ends", "group", "items")

    def __init__(self, group: Group | None, before: frozenset[CompiledRule], after: frozenset[CompiledRule]) -> None:
        self.group, self.before, self.after = group, before, after
        self.items: frozenset[AnyItem] = group.members if group is not None else frozenset()
        self.ends = bool(before or after)


_ends = attrgetter("ends")


class LazyTaggedDfa:
    """Compiled rules, their classes, and the states that texts have led to so far."""

    def __init__(
        self,
        rules: Sequence[tuple[int, CompiledRule, HoldClass]],
        max_transitions: int = MAX_TRANSITIONS,
        plain: frozenset[int] = frozenset(),
    ) -> None:
        """rules: each with its number and its class. plain: the rules whose matches are only to be reported."""
        self._plain = plain
        self.numbers = {rule: number for number, rule, _ in rules}
        self.max_transitions = max_transitions
        self.transitions = 0
        self._rules = rules
        self._classes = list(dict.fromkeys(hold_class for _, _, hold_class in rules))
        self._sets = _SetIndex(frozenset[CharSet]().union(*(rule.sets for _, rule, _ in rules)))
        self._watched: dict[tuple[tuple[HoldClass, int], ...], Watched] = {}
        self._atoms: dict[str, Atom] = {}
        self._known_atoms: dict[frozenset[CharSet], Atom] = {}
        self._past_invisible = {e.behind for _, rule, _ in rules for e in rule.roots if e.past_invisible}
        self._fresh: dict[tuple[frozenset[CharSet], bool], tuple[Group, ...]] = {}
        self._groups: dict[tuple[HoldClass, frozenset[AnyItem]], Group] = {}
        self._states: dict[tuple[tuple[Group, ...], tuple[Group, ...], int], State] = {}
        self.start = self.beginning("")

    def atom(self, char: str) -> Atom:
        """The character's atom; "" is the edge of the text."""
        atom = self._atoms.get(char)
        if atom is None:
            sets = self._sets.of(char)
            atom = self._known_atoms.get(sets)
            if atom is None:
                atom = self._known_atoms[sets] = Atom(sets)
                atom.char = char
            else:
                atom.shared = True
            self._atoms[char] = atom
        return atom

    def beginning(self, before: str) -> State:
        """The state in which nothing is open, behind a character; "": at the beginning of a text."""
        atom = self.atom(before)
        past = self._past(0, atom)
        return self._state((), self.fresh(atom, past > 0), past)

    def fresh(self, before: Atom, past_invisible: bool) -> tuple[Group, ...]:
        """The items that a match can begin with after a character.

        past_invisible: what matters stands before invisible characters that are looked through, and is as it has to be
        """
        groups = self._fresh.get((before, past_invisible))
        if groups is None:
            items: dict[HoldClass, set[AnyItem]] = {hold_class: set() for hold_class in self._classes}
            for _, rule, hold_class in self._rules:
                items[hold_class].update(
                    e.target
                    for e in rule.roots
                    if e.target is not None
                    and (past_invisible if e.past_invisible else e.behind is None or e.behind in before)
                )
            groups = tuple(self.group(c, frozenset(found)) for c, found in items.items() if found)
            self._fresh[before, past_invisible] = groups
        return groups

    def _past(self, past: int, atom: Atom) -> int:
        """How many more characters a word may begin behind, if they are invisible; see State."""
        if not self._past_invisible.isdisjoint(atom):
            return MOST_INVISIBLE + 1
        return past - 1 if past > 1 and INVISIBLE in atom else 0

    def group(self, hold_class: HoldClass, items: frozenset[AnyItem]) -> Group:
        """The one group with these items."""
        group = self._groups.get((hold_class, items))
        if group is None:
            group = self._groups[hold_class, items] = Group(self, hold_class, items)
        return group

    def step(self, state: State, char: str) -> Step:
        """The transition of a state; kept in the state."""
        atom = self.atom(char)
        step = state.get(atom) if atom.shared else None
        if step is None:
            self.transitions += 1 + len(state.groups) // 8  # a large state counts for more
            if self.transitions >= self.max_transitions:
                self.flush()
            step = self._build(state, atom)
            if atom.shared:
                state[atom] = step
        state[char] = step
        return step

    def watched(self, groups: tuple[Group, ...]) -> Watched:
        """Which registers of a state a scan has to look at."""
        if len(self._classes) == 1:
            oldest: tuple[tuple[HoldClass, int], ...] = ((self._classes[0], 0),) if groups else ()
        else:
            first: dict[HoldClass, int] = {}
            for register, group in enumerate(groups):
                first.setdefault(group.hold_class, register)
            oldest = tuple(first.items())
        watched = self._watched.get(oldest)
        if watched is None:
            watched = self._watched[oldest] = _watch(oldest)
        return watched

    def flush(self) -> None:
        """Forget every state. One that a stream is in builds its transitions anew."""
        for state in self._states.values():
            state.clear()
        for group in self._groups.values():
            group.clear()
            group.rest.clear()
        self._states = {(self.start.groups, self.start.fresh, self.start.past): self.start}
        self._groups = {(g.hold_class, g.members): g for groups in self._fresh.values() for g in groups}
        self.transitions = 0

    def _state(self, groups: tuple[Group, ...], fresh: tuple[Group, ...], past: int) -> State:
        state = self._states.get((groups, fresh, past))
        if state is None:
            state = self._states[groups, fresh, past] = State(self, groups, fresh, past)
        return state

    def _build(self, state: State, atom: Atom) -> Step:
        old = len(state.groups)
        moves = [group[atom] for group in state.groups + state.fresh]
        before: tuple[Accept, ...] = ()
        after: tuple[Accept, ...] = ()
        if any(map(_ends, moves)):
            ended = self._ended([move.before for move in moves], old)
            moves, before = self._cut(moves, ended, old), self._numbered(ended)
            ended = self._ended([move.after for move in moves], old)
            moves, after = self._cut(moves, ended, len(moves)), self._numbered(ended)
        following = self._partition(moves)
        dead = [k for k, group in enumerate(following) if group is None]
        groups = tuple([group for group in following if group is not None])
        change = _change(old, len(following), dead, before, after, bool(state.overflow))
        if change is not None and change.event is not None and not state.overflow:
            change = Change(change.cut, change.begins, self._simplified(change.event))
        past = self._past(state.past, atom)
        return self._state(groups, self.fresh(atom, past > 0), past), change

    def _simplified(self, event: Event) -> Event:
        if event.before or event.keep is not None or len(event.after) != 1 or event.after[0].number not in self._plain:
            return event
        return Event(event.before, event.after, event.keep, event.after[0])

    def _ended(self, found: list[frozenset[CompiledRule]], old: int) -> dict[CompiledRule, tuple[int, ...]]:
        """Per rule the registers of its matches that end: the oldest, or with a validator all."""
        out: dict[CompiledRule, tuple[int, ...]] = {}
        for k, rules in enumerate(found):
            for rule in rules:
                if rule not in out:
                    out[rule] = (min(k, old),)
                elif rule.source.validate is not None:
                    out[rule] += (min(k, old),)
        return out

    def _numbered(self, ended: dict[CompiledRule, tuple[int, ...]]) -> tuple[Accept, ...]:
        return tuple(sorted(Accept(self.numbers[rule], registers) for rule, registers in ended.items()))

    def _cut(self, moves: list[Move], ended: Iterable[CompiledRule], count: int) -> list[Move]:
        """`match: shortest`: what began before a match's end is given up."""
        given_up = {rule for rule in ended if rule.source.shortest}
        if not given_up:
            return moves
        return [move if k >= count else self._give_up(move, given_up) for k, move in enumerate(moves)]

    def _give_up(self, move: Move, given_up: set[CompiledRule]) -> Move:
        gone = frozenset(item for item in move.items if item.owner in given_up)
        group = self._without(move.group, gone) if gone and move.group is not None else move.group
        return Move(group, move.before, move.after - given_up)

    def _partition(self, moves: list[Move]) -> Sequence[Group | None]:
        """The next groups: no item twice, the older has it."""
        sets = [move.items for move in moves]
        if len(set().union(*sets)) == sum(map(len, sets)):
            return [move.group for move in moves]
        owned: set[AnyItem] = set()
        out: list[Group | None] = []
        for move in moves:
            group = move.group
            if group is not None and not group.hold_class.every_start:
                taken = move.items & owned
                if taken:
                    rest = group.rest
                    group = rest[taken] if taken in rest else self._without(group, taken)
                owned |= move.items
            out.append(group)
        return out

    def _without(self, group: Group, taken: frozenset[AnyItem]) -> Group | None:
        """The group without items that an older one has."""
        items = group.members - taken
        rest = group.rest[taken] = self.group(group.hold_class, items) if items else None
        return rest


def _change(
    old: int, count: int, dead: list[int], before: tuple[Accept, ...], after: tuple[Accept, ...], watched: bool
) -> Change | None:
    """The change of the registers when of `count` groups, the first `old` with one already, some are dead."""
    gone = [k for k in dead if k < old]
    born = count - old - (len(dead) - len(gone))
    keep = None
    if born > 1 or (gone and gone[-1] - gone[0] >= len(gone)):  # classes with a beginning each, or several cuts
        keep = tuple(min(k, old) for k in range(count) if k not in dead)
    changed = bool(gone) or born > 0
    event = Event(before, after, keep) if before or after or keep is not None or (watched and changed) else None
    if not changed and event is None:
        return None
    if keep is not None:
        return Change(None, False, event)
    return Change(slice(gone[0], gone[-1] + 1) if gone else None, born > 0, event)


def _watch(oldest: tuple[tuple[HoldClass, int], ...]) -> Watched:
    """`oldest`: the first register of each class."""
    held = tuple((register, c.limit) for c, register in oldest if c.holds)
    overflow = tuple((register, c) for c, register in oldest if c.on_overflow != "release")
    validated = min((register for c, register in oldest if c.every_start), default=-1)
    return Watched(held, overflow, validated, bool(overflow) or validated >= 0)


class _SetIndex:
    """Finds the sets that a character is in: small ones by their characters, wide ones one by one."""

    def __init__(self, sets: frozenset[CharSet]) -> None:
        self.edge = [chars for chars in sets if chars.edge]
        self.wide = [chars for chars in sets if len(chars) > 16]
        self.small: dict[int, list[CharSet]] = {}
        for chars in sets:
            if len(chars) <= 16:
                for first, last in chars.ranges:
                    for code in range(first, last + 1):
                        self.small.setdefault(code, []).append(chars)

    def of(self, char: str) -> frozenset[CharSet]:
        if not char:
            return frozenset(self.edge)
        code = ord(char)
        return frozenset(self.small.get(code, ())).union(chars for chars in self.wide if chars.has(code))


class Group(dict[Atom, Move]):
    """Items of one class whose matches began at the same place. Maps what is read next to its move.

    rest: the group that is left when some of the items are taken away, by which
    """

    __slots__ = ("_automaton", "_by_set", "_cursors", "hold_class", "members", "rest")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, automaton: LazyTaggedDfa, hold_class: HoldClass, items: frozenset[AnyItem]) -> None:
        super().__init__()
        self._automaton, self.hold_class, self.members = automaton, hold_class, items
        self.rest: dict[frozenset[AnyItem], Group | None] = {}
        self._by_set: dict[CharSet, list[Item]] = {}
        self._cursors: list[WordCursor] = []
        for item in items:
            if isinstance(item, WordCursor):
                self._cursors.append(item)
            else:
                self._by_set.setdefault(item.chars, []).append(item)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __missing__(self, atom: Atom) -> Move:
        items: set[AnyItem] = set()
        before: set[CompiledRule] = set()
        after: set[CompiledRule] = set()
        for chars, at in self._by_set.items():
            if chars in atom:
                for item in at:
                    _read(item, atom, items, before, after)
        for cursor in self._cursors:
            reached = cursor.words.read(cursor, atom.char)
            items.update(reached.items)
            if reached.accepts:
                after.add(cursor.owner)
        _decide(items, after)
        group = self._automaton.group(self.hold_class, frozenset(items)) if items else None
        move = self[atom] = Move(group, frozenset(before), frozenset(after))
        return move


def _read(item: Item, atom: Atom, items: set[AnyItem], before: set[CompiledRule], after: set[CompiledRule]) -> None:
    rule: CompiledRule = item.owner
    if item.ends:
        before.add(rule)
        return
    items.update(item.targets)
    if item.accepts:
        after.add(rule)
    for behind, target, _ in item.edges:
        if behind in atom:
            if target is None:
                after.add(rule)
            else:
                items.add(target)


def _decide(items: set[AnyItem], after: set[CompiledRule]) -> None:
    """Drop what waits for the next character although the match is certain: another way, or all ways, complete it."""
    waiting = [item for item in items if item.ends and isinstance(item, Item)]
    if not waiting:
        return
    for rule in {item.owner for item in waiting}:
        its = [item for item in waiting if item.owner is rule]
        if reduce(or_, [item.chars for item in its]) is EVERYTHING:
            after.add(rule)
        if rule in after:
            items.difference_update(its)


class State(dict["str | Atom", Step]):
    """Where a text has led. Maps the next character ("": the end of the text) to its transition.

    groups:    the open matches by where they began, oldest first; register k belongs to groups[k]
    fresh:     what a match that begins here can begin with
    held:      the registers that text has to wait for, each with the most characters it may keep waiting
    overflow:  the registers of classes in which a match that waits too long is covered, or blocks
    validated: the register of the oldest match whose text a validator may want to see, or -1
    special:   one of the latter two is in use
    past:      where a word may begin, how many characters that are looked through may still come before it, and one
    """

    __slots__ = ("automaton", "fresh", "groups", "held", "overflow", "past", "special", "validated")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(
        self, automaton: LazyTaggedDfa, groups: tuple[Group, ...], fresh: tuple[Group, ...], past: int
    ) -> None:
        super().__init__()
        self.automaton, self.groups, self.fresh, self.past = automaton, groups, fresh, past
        self.held, self.overflow, self.validated, self.special = automaton.watched(groups)

    def __missing__(self, char: str) -> Step:
        return self.automaton.step(self, char)
