"""What can be wrong with a rule's pattern, words or options."""

from __future__ import annotations


class PatternError(Exception):
    """A rule that cannot be matched exactly, or not in bounded time; refused when the policy is loaded.

    message: what is wrong, one line
    column:  where in the pattern, counted from 1; 0 when it is the rule as a whole
    hint:    how to fix it
    """

    def __init__(self, message: str, column: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        where = f"column {self.column}: " if self.column else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")
