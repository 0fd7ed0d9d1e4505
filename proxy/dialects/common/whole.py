"""Objects that are left out as a whole where they would say nothing without a part of theirs."""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.request_fields import LeftOut, Object, Report, Take
from proxy.errors import BadRequest


class Whole(Object):
    """An object with known keys, which is left out where one that is required is missing in it, at any depth.

    So a part of a history that some client once wrote badly does not stand in the way of every later request.
    """

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The known part of `value`. Raises LeftOut, and BadRequest for a wrong type."""
        try:
            return super().__call__(value, path, report)
        except BadRequest as error:
            if error.code == "missing_field":
                raise LeftOut from None
            raise


def said(take_part: Take) -> Take:
    """A part that says nothing when it is null: it is left out then."""

    def take(value: Any, path: str, report: Report) -> Any:
        if value is None:
            raise LeftOut
        return take_part(value, path, report)

    return take


def text_part(kind: str, take_part: Take) -> Take:
    """A part of a message. A string in its place, or a text without a type, is a text of this kind: it is judged."""

    def take(value: Any, path: str, report: Report) -> Any:
        if isinstance(value, str):
            value = {"type": kind, "text": value}
        elif isinstance(value, dict) and value.get("type") is None and isinstance(value.get("text"), str):
            value = {**value, "type": kind}
        return take_part(value, path, report)

    return take
