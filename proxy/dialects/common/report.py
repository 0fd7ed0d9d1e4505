"""What is found while a request is read: what was left out, and the texts that its table wants judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.dialects.base import InputText, Options
from proxy.dialects.common.nested_texts import MOST_TEXTS, nested_texts

Take = Callable[[Any, str, "Report"], Any]
"""An entry of a table: a value, its path and the report in, what is sent of it out. Raises BadRequest, LeftOut."""


class LeftOut(Exception):
    """This part is not taken; whoever holds it leaves it out and names it."""


@dataclass(slots=True)
class Report:
    """What is found while a request is read.

    options: what the operator has allowed
    dropped: paths of what was left out
    texts:   what the table itself says is to be judged; the dialect finds the other texts
    """

    options: Options = field(default_factory=Options)
    dropped: list[str] = field(default_factory=list)
    texts: list[InputText] = field(default_factory=list)
    _place: tuple[Any, Any] = (None, None)  # the container and the key of the part that is being read

    def read(self, take: Take, value: Any, path: str, container: Any, key: Any) -> Any:
        """One part through its entry, which is about to be put into its place. Raises LeftOut, and names the part."""
        texts, dropped = len(self.texts), len(self.dropped)
        self._place = container, key
        try:
            return take(value, path, self)
        except LeftOut:
            del self.texts[texts:]
            self.dropped[dropped:] = [path]
            raise

    def judge(self, value: Any, role: str, path: str) -> None:
        """Put every text of the part that is being read among those to be judged.

        What stands inside an array or object is judged joined, since a template may print it so, but for the keys.
        """
        if isinstance(value, dict | list):
            found = nested_texts(value, role, path, MOST_TEXTS - len(self.texts))
        elif value is None or isinstance(value, bool):
            return
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found = [InputText(role, text, path, *self._place)]
        first = -1 - MOST_TEXTS - len(self.texts)  # below those of tools and schemas
        for i, input_text in enumerate(found):
            input_text.group = first - i if input_text.key == "key" else first
        self.texts += found

    def forget(self, path: str) -> None:
        """A part is left out after all: it is named, and its texts are not judged."""
        self.dropped.append(path)
        below = (f"{path}.", f"{path}[")
        self.texts[:] = [text for text in self.texts if text.param != path and not text.param.startswith(below)]

    def forget_inside(self, containers: Iterable[Any], paths: Iterable[str]) -> None:
        """The same for many parts: their texts stand in these objects, and `paths` name them."""
        self.dropped += paths
        gone = {id(container) for container in containers}
        self.texts[:] = [text for text in self.texts if id(text.container) not in gone]
