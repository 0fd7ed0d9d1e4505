"""Python's `re` syntax, read into a small tree of character sets; what cannot be matched exactly is refused.

Accepted is a part of what `re` accepts, with the same meaning; look-around becomes a set that the one character before
or after a place has to be in. Grouping only groups: nothing is captured. Greedy and lazy come to the same.

Reference: https://docs.python.org/3/library/re.html#regular-expression-syntax
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from proxy.matching.charsets import ANY, EDGE, NEWLINE, CharSet, category
from proxy.matching.reader import Flags, Reader
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

MAX_DEPTH = 100
MAX_REPEAT = 5_000
_DIGITS = "0123456789"
_SPACES = " \t\n\r\v\f"
_DOLLAR = "write \\Z for the end of the text or (?m:$) for the end of a line"
_ONE_CHARACTER = "look-around may only look at one character"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A pattern's tree. lazy_column: where its first lazy quantifier stands, 0 when there is none."""

    root: Node
    lazy_column: int


def parse(pattern: str) -> Parsed:
    """The tree of a pattern; PatternError says what is wrong or cannot be had, and where."""
    flags = Flags()
    while True:
        parser = _Parser(pattern, flags)
        try:
            root = parser.whole()
        except _VerboseFromTheStart:
            flags = replace(flags, verbose=True)
            continue
        return Parsed(root, parser.lazy_column)


class _VerboseFromTheStart(Exception):
    """A global (?x) was found: the pattern has to be read again."""


@dataclass(slots=True)
class _Parser(Reader):
    """Recursive descent over the pattern."""

    depth: int = 0
    lazy_column: int = 0
    names: set[str] = field(default_factory=set)

    def whole(self) -> Node:
        self.global_flags()
        root = self.choice()
        if self.at < len(self.pattern):
            raise self.error("unbalanced parenthesis", self.at, "write \\) for the character")
        return root

    def global_flags(self) -> None:
        """(?i) and its like, which `re` only takes at the very start."""
        while True:
            self.skip_ignored()
            start = self.at
            if not self.take("(?"):
                return
            letters = self.run_of("aiLmsux", 9)
            if not letters or not self.take(")"):
                self.at = start
                return
            was_verbose = self.flags.verbose
            self.flags = self.with_flags(letters, "", start)
            if self.flags.verbose and not was_verbose:
                raise _VerboseFromTheStart

    def choice(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("groups are nested too deeply", self.at, f"at most {MAX_DEPTH}")
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        self.depth -= 1
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def sequence(self) -> Node:
        parts: list[Node] = []
        repeatable = repeated = False
        while True:
            self.skip_ignored()
            start = self.at
            char = self.peek()
            if char in ("", "|", ")"):
                return parts[0] if len(parts) == 1 else Sequence(tuple(parts))
            bounds = self.quantifier()
            if bounds is None:
                part, repeatable = self.atom()
                repeated = False
                parts.append(part)
                continue
            if not parts or not repeatable:
                raise self.error("multiple repeat" if repeated else "nothing to repeat", start, f"write \\{char}")
            parts[-1] = Repeat(parts[-1], *bounds, start + 1)
            repeatable, repeated = False, True

    def skip_ignored(self) -> None:
        """With (?x), white space and comments; a (?#comment) always."""
        while True:
            if self.take("(?#"):
                self.until(")", "missing ), unterminated comment")
            elif self.flags.verbose and self.peek() and self.peek() in _SPACES:
                self.at += 1
            elif self.flags.verbose and self.peek() == "#":
                end = self.pattern.find("\n", self.at)
                self.at = len(self.pattern) if end < 0 else end + 1
            else:
                return

    def quantifier(self) -> tuple[int, int | None] | None:
        start = self.at
        bounds = self.bounds()
        if bounds is None:
            return None
        low, high = bounds
        if high is not None and high < low:
            raise self.error("min repeat greater than max repeat", start)
        if max(low, high or 0) > MAX_REPEAT:
            raise self.error("too many states", start, f"repeat at most {MAX_REPEAT} times, or without end")
        if self.peek() == "+":
            raise self.error("possessive quantifiers are not supported", self.at, "leave the + out")
        if self.peek() == "?":
            self.lazy_column = self.lazy_column or self.at + 1
            self.at += 1
        return bounds

    def bounds(self) -> tuple[int, int | None] | None:
        if self.take("*"):
            return 0, None
        if self.take("+"):
            return 1, None
        if self.take("?"):
            return 0, 1
        start = self.at
        if not self.take("{") or self.peek() == "}":
            self.at = start
            return None
        low = high = self.run_of(_DIGITS, 20)
        if self.take(","):
            high = self.run_of(_DIGITS, 20)
            given = int(high) if high else None
        else:
            given = int(low or 0)
        if not self.take("}"):
            self.at = start
            return None
        return int(low or 0), given

    def atom(self) -> tuple[Node, bool]:
        """The next piece, and whether a quantifier may follow it."""
        start = self.at
        char = self.next("")
        if char == "(":
            return self.group(start)
        if char == "[":
            return Chars(self.char_class(start)), True
        if char == ".":
            return Chars(ANY if self.flags.dot_all else (~NEWLINE).inside()), True
        if char == "^":
            return Behind(self.line_edge() if self.flags.multi_line else EDGE), False
        if char == "$":
            if not self.flags.multi_line:
                raise self.error("a bare $ would need two characters of look-ahead", start, _DOLLAR)
            return Ahead(self.line_edge()), False
        if char == "\\":
            return self.escape(start)
        return self.literal(char), True

    def literal(self, char: str) -> Chars:
        return Chars(self.cased(CharSet.chars(char)))

    def line_edge(self) -> CharSet:
        return NEWLINE | EDGE

    def escape(self, start: int) -> tuple[Node, bool]:
        char = self.next("bad escape (end of pattern)")
        if char == "A":
            return Behind(EDGE), False
        if char == "Z":
            return Ahead(EDGE), False
        if char in "bB":
            return self.boundary(char == "b"), False
        if char in "dDsSwW":
            return Chars(category(char, self.flags.ascii)), True
        if char in "123456789" and not self.octal_escape():
            raise self.error("back-references are not supported", start, "spell out what may be repeated")
        return self.literal(self.character(char, start)), True

    def boundary(self, wanted: bool) -> Node:
        word = category("w", self.flags.ascii)
        after_word, after_other = Behind(word), Behind(~word)
        to_word, to_other = Ahead(word), Ahead(~word)
        if not wanted:
            to_word, to_other = to_other, to_word
        return Choice((Sequence((after_word, to_other)), Sequence((after_other, to_word))))

    def group(self, start: int) -> tuple[Node, bool]:
        if not self.take("?"):
            return self.body(start), True
        if self.take(":"):
            return self.body(start), True
        if self.take("P"):
            return self.named_group(start), True
        for opening, behind, wanted in (("=", 0, 1), ("!", 0, 0), ("<=", 1, 1), ("<!", 1, 0)):
            if self.take(opening):
                return self.look_around(start, bool(behind), bool(wanted)), True
        if self.take(">"):
            raise self.error("atomic groups are not supported", start, "write (?:...)")
        if self.take("("):
            raise self.error("conditional groups are not supported", start, "write the two cases as a|b")
        return self.scoped_flags(start), True

    def body(self, start: int) -> Node:
        outer = self.flags
        node = self.choice()
        self.flags = outer
        if not self.take(")"):
            raise self.error("missing ), unterminated subpattern", start)
        return node

    def named_group(self, start: int) -> Node:
        if self.take("="):
            raise self.error("back-references are not supported", start, "spell out what may be repeated")
        if not self.take("<"):
            raise self.error("unknown extension ?P" + self.peek(), start)
        name = self.until(">", "missing >, unterminated name")
        if not name.isidentifier() or not name.isascii() or name in self.names:
            raise self.error(f"bad or repeated group name {name!r}", start)
        self.names.add(name)
        return self.body(start)

    def scoped_flags(self, start: int) -> Node:
        on = self.run_of("aiLmsux", 9)
        if on and self.peek() == ")":
            raise self.error("global flags not at the start of the expression", start, f"write (?{on}:...)")
        minus = self.take("-")
        off = self.run_of("aiLmsux", 9) if minus else ""
        if not (off if minus else on) or not self.take(":"):
            raise self.error(f"unknown extension ?{self.peek()}", start)
        outer = self.flags
        self.flags = self.with_flags(on, off, start)
        node = self.body(start)
        self.flags = outer
        return node

    def look_around(self, start: int, behind: bool, wanted: bool) -> Node:
        chars = _one_character(self.body(start), behind)
        if chars is None:
            raise self.error(_ONE_CHARACTER, start, "make the rest part of the pattern, or leave it out")
        if not wanted:
            chars = ~chars
        return Behind(chars) if behind else Ahead(chars)


def _one_character(node: Node, behind: bool) -> CharSet | None:
    """The set that a look-around's body stands for; None when it looks at more than one character."""
    if isinstance(node, Chars):
        return node.set
    if isinstance(node, Behind | Ahead):
        return node.set if isinstance(node, Behind) is behind else None
    if not isinstance(node, Choice) or (behind and len({_is_wide(b) for b in node.branches}) > 1):
        return None
    out = CharSet.of([])
    for branch in node.branches:
        chars = _one_character(branch, behind)
        if chars is None:
            return None
        out |= chars
    return out


def _is_wide(node: Node) -> bool:
    """Does a look-around's body take up a character? In a look-behind, `re` wants all branches to be alike."""
    return _is_wide(node.branches[0]) if isinstance(node, Choice) else isinstance(node, Chars)
