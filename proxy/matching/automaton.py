"""All patterns of a pass as one deterministic automaton with registers, built lazily, shared by all streams.

A state is an ordered partition: groups of items, each with the place where its matches began, oldest first. An item
stands only in the oldest group that reached it, because a match that began earlier covers whatever a later one in the
same place would. The places themselves are not part of the state: a scan keeps them in registers, one per group, and a
transition says which registers stay. So a state depends on nothing but the text read, transitions can be cached per
character, and the first register is the earliest beginning of a match that is still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.matching.charsets import CharSet
from proxy.matching.classes import HoldClass
from proxy.matching.compiled import CompiledRule
from proxy.matching.nfa import Item

MAX_TRANSITIONS = 200_000


class Accept(NamedTuple):
    """A rule has matches that end here; they began at these registers, oldest first."""

    number: int
    registers: tuple[int, ...]


class Accepts(NamedTuple):
    """The matches that end before the character that was read, and those that end after it."""

    before: tuple[Accept, ...]
    after: tuple[Accept, ...]


class Change(NamedTuple):
    """What a transition does besides changing the state.

    keep:    the old registers that the new ones are taken from; the number one past the last means "begins here";
             None: they stay as they are
    accepts: None when no match ends here and nothing can have waited too long
    """

    keep: tuple[int, ...] | None
    accepts: Accepts | None


Step = tuple["State", Change | None]


class Atom(frozenset[CharSet]):
    """The sets that a character is in: characters with the same atom cannot be told apart.

    shared: more than one such character was seen
    """

    shared = False


class Move(NamedTuple):
    """A group after a character: its next group and items; the rules with a match that ends before, and after it."""

    group: Group | None
    items: frozenset[Item]
    before: frozenset[CompiledRule]
    after: frozenset[CompiledRule]


class Automaton:
    """Compiled rules, their classes, and the states that texts have led to so far."""

    def __init__(
        self, rules: Sequence[tuple[int, CompiledRule, HoldClass]], max_transitions: int = MAX_TRANSITIONS
    ) -> None:
        """rules: each with its number and its class."""
        self.numbers = {rule: number for number, rule, _ in rules}
        self.max_transitions = max_transitions
        self.transitions = 0
        self.has_shortest = any(rule.source.shortest for _, rule, _ in rules)
        self._rules = rules
        self._classes = list(dict.fromkeys(hold_class for _, _, hold_class in rules))
        self._sets = _SetIndex(frozenset[CharSet]().union(*(rule.sets for _, rule, _ in rules)))
        self._behind = {e.behind for _, rule, _ in rules for e in rule.roots if e.behind is not None}
        self._atoms: dict[str, Atom] = {}
        self._known_atoms: dict[frozenset[CharSet], Atom] = {}
        self._fresh: dict[frozenset[CharSet], tuple[Group, ...]] = {}
        self._groups: dict[tuple[HoldClass, frozenset[Item]], Group] = {}
        self._states: dict[tuple[tuple[Group, ...], tuple[Group, ...]], State] = {}
        self.start = self._state((), self.fresh(self.atom("")))

    def atom(self, char: str) -> Atom:
        """The character's atom; "" is the edge of the text."""
        atom = self._atoms.get(char)
        if atom is None:
            sets = self._sets.of(char)
            atom = self._known_atoms.get(sets)
            if atom is None:
                atom = self._known_atoms[sets] = Atom(sets)
            else:
                atom.shared = True
            self._atoms[char] = atom
        return atom

    def fresh(self, before: Atom) -> tuple[Group, ...]:
        """The items that a match can begin with after a character."""
        known = before & self._behind
        groups = self._fresh.get(known)
        if groups is None:
            items: dict[HoldClass, set[Item]] = {hold_class: set() for hold_class in self._classes}
            for _, rule, hold_class in self._rules:
                items[hold_class].update(
                    e.target for e in rule.roots if e.target is not None and (e.behind is None or e.behind in known)
                )
            groups = tuple(self.group(c, frozenset(found)) for c, found in items.items() if found)
            self._fresh[known] = groups
        return groups

    def group(self, hold_class: HoldClass, items: frozenset[Item]) -> Group:
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
            self.transitions += 1
            if self.transitions >= self.max_transitions:
                self.flush()
            step = self._build(state, atom)
            if atom.shared:
                state[atom] = step
        state[char] = step
        return step

    def flush(self) -> None:
        """Forget every state. One that a stream is in builds its transitions anew."""
        for state in self._states.values():
            state.clear()
        for group in self._groups.values():
            group.moves.clear()
        self._states = {(self.start.groups, self.start.fresh): self.start}
        self._groups = {(g.hold_class, g.items): g for groups in self._fresh.values() for g in groups}
        self.transitions = 0

    def _state(self, groups: tuple[Group, ...], fresh: tuple[Group, ...]) -> State:
        state = self._states.get((groups, fresh))
        if state is None:
            state = self._states[groups, fresh] = State(self, groups, fresh)
        return state

    def _build(self, state: State, atom: Atom) -> Step:
        old = len(state.groups)
        moves = [group.moves.get(atom) or group.move(atom) for group in state.groups + state.fresh]
        before = self._accepts((k, m.before) for k, m in enumerate(moves) if m.before)
        if self.has_shortest:
            moves = self._cut(moves, {rule for rule in before if rule.source.shortest}, old)
        after = self._accepts((min(k, old), m.after) for k, m in enumerate(moves) if m.after)
        if self.has_shortest:
            moves = self._cut(moves, {rule for rule in after if rule.source.shortest}, len(moves))
        groups, registers = self._partition(moves, old)
        keep = None if registers == tuple(range(old)) else registers
        accepts = None
        if before or after or (state.overflow and keep is not None):
            accepts = Accepts(self._numbered(before), self._numbered(after))
        change = None if keep is None and accepts is None else Change(keep, accepts)
        return self._state(groups, self.fresh(atom)), change

    def _accepts(self, found: Iterable[tuple[int, frozenset[CompiledRule]]]) -> dict[CompiledRule, tuple[int, ...]]:
        """Per rule the registers of its matches: the oldest, or with a validator all."""
        out: dict[CompiledRule, tuple[int, ...]] = {}
        for register, rules in found:
            for rule in rules:
                if rule not in out:
                    out[rule] = (register,)
                elif rule.source.validate is not None:
                    out[rule] += (register,)
        return out

    def _numbered(self, found: dict[CompiledRule, tuple[int, ...]]) -> tuple[Accept, ...]:
        return tuple(sorted(Accept(self.numbers[rule], registers) for rule, registers in found.items()))

    def _cut(self, moves: list[Move], ended: set[CompiledRule], count: int) -> list[Move]:
        """`match: shortest`: what began before a match's end is given up."""
        if not ended:
            return moves
        return [move if k >= count else self._without(move, ended) for k, move in enumerate(moves)]

    def _without(self, move: Move, ended: set[CompiledRule]) -> Move:
        items = frozenset(item for item in move.items if item.owner not in ended)
        group = self.group(move.group.hold_class, items) if items and move.group else None
        return Move(group, items, move.before, move.after - ended)

    def _partition(self, moves: list[Move], old: int) -> tuple[tuple[Group, ...], tuple[int, ...]]:
        """The next groups, and the registers they keep: no item twice, the older has it."""
        sets = [move.items for move in moves]
        owned: set[Item] = set().union(*sets)
        if len(owned) == sum(map(len, sets)):
            kept = [(move.group, min(k, old)) for k, move in enumerate(moves) if move.group is not None]
            return tuple(group for group, _ in kept), tuple(register for _, register in kept)
        owned.clear()
        groups, registers = [], []
        for k, (group, items, _, _) in enumerate(moves):
            if group is None:
                continue
            if not group.hold_class.every_start:
                if not owned.isdisjoint(items):
                    items -= owned
                    group = self.group(group.hold_class, items) if items else None
                owned |= items
            if group is not None:
                groups.append(group)
                registers.append(min(k, old))
        return tuple(groups), tuple(registers)


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


class Group:
    """Items of one class whose matches began at the same place."""

    __slots__ = ("_automaton", "_by_set", "hold_class", "items", "moves")

    def __init__(self, automaton: Automaton, hold_class: HoldClass, items: frozenset[Item]) -> None:
        self._automaton = automaton
        self.hold_class = hold_class
        self.items = items
        self.moves: dict[Atom, Move] = {}
        self._by_set: dict[CharSet, list[Item]] = {}
        for item in items:
            self._by_set.setdefault(item.chars, []).append(item)

    def move(self, atom: Atom) -> Move:
        """Read a character."""
        items: set[Item] = set()
        before: set[CompiledRule] = set()
        after: set[CompiledRule] = set()
        for chars, at in self._by_set.items():
            if chars in atom:
                for item in at:
                    _read(item, atom, items, before, after)
        found = frozenset(items)
        group = self._automaton.group(self.hold_class, found) if found else None
        move = self.moves[atom] = Move(group, found, frozenset(before), frozenset(after))
        return move


def _read(item: Item, atom: Atom, items: set[Item], before: set[CompiledRule], after: set[CompiledRule]) -> None:
    rule: CompiledRule = item.owner
    if item.ends:
        before.add(rule)
        return
    items.update(item.targets)
    if item.accepts:
        after.add(rule)
    for behind, target in item.edges:
        if behind in atom:
            if target is None:
                after.add(rule)
            else:
                items.add(target)


class State(dict["str | Atom", Step]):
    """Where a text has led. Maps the next character ("": the end of the text) to its transition.

    groups:    the open matches by where they began, oldest first; register k belongs to groups[k]
    fresh:     what a match that begins here can begin with
    held:      the registers that text has to wait for, each with the most characters it may keep waiting
    overflow:  the registers of classes in which a match that waits too long is covered, or blocks
    validated: the register of the oldest match whose text a validator may want to see, or -1
    """

    __slots__ = ("automaton", "fresh", "groups", "held", "overflow", "validated")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, automaton: Automaton, groups: tuple[Group, ...], fresh: tuple[Group, ...]) -> None:
        super().__init__()
        self.automaton, self.groups, self.fresh = automaton, groups, fresh
        oldest: dict[HoldClass, int] = {}
        for register, group in enumerate(groups):
            oldest.setdefault(group.hold_class, register)
        self.held = tuple((register, c.limit) for c, register in oldest.items() if c.holds)
        self.overflow = tuple((register, c) for c, register in oldest.items() if c.on_overflow != "release")
        self.validated = min((register for c, register in oldest.items() if c.every_start), default=-1)

    def __missing__(self, char: str) -> Step:
        return self.automaton.step(self, char)
