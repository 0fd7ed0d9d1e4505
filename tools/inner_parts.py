"""Which blocks, items and tools of a request are left out, and why: from the dialects' tables, for docs/endpoints.md.

A table is made of functions that remember what they were made of, so all that it says can be walked.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping

from proxy.dialects.anthropic.blocks import BLOCKS
from proxy.dialects.anthropic.request import MESSAGES
from proxy.dialects.common.request_fields import Dropped, Object, Take
from proxy.dialects.common.tools import tool_kinds
from proxy.dialects.openai.responses.input_items import ITEMS
from proxy.dialects.openai.responses.request import RESPONSES

UNLESS = "unless `{}` allows it"
SERVER = UNLESS.format("allow_server_tools")
TABLES: dict[str, Object] = {"/v1/messages": MESSAGES, "/v1/responses": RESPONSES}
_END = re.compile(r"^.*(?=\[\w+\](?:\.\w+)+$|\[\w+\]\.source\[\w+\]$)|^.*(?=\[\w+\]$)")
"""What stands in a path before the last kind under which a part stands."""
KINDS: dict[str, Mapping[str, Take]] = {"/v1/messages": BLOCKS, "/v1/responses": ITEMS}
HEAD = """## Blocks, items and tools

What stands inside the messages of `/v1/messages` and the input of `/v1/responses`, and their tools. A kind that does
not stand here is left out. `previous_response_id`, `conversation` and items of the type `item_reference` are refused
unless `allow_stateful` allows them: they only make sense together with what the model server remembers.
"""


def reasons(take: Take | Object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every part below an entry that is left out, with the reason."""
    if isinstance(take, Dropped):
        yield path, take.reason
        return
    if isinstance(take, Object):
        for key, part in take._keys.items():
            yield from reasons(part, f"{path}.{key}" if path else key)
        return
    made_of = inspect.getclosurevars(take).nonlocals if inspect.isfunction(take) else {}
    if "option" in made_of:
        yield path, UNLESS.format(made_of["option"])
        return
    variants = made_of.get("variants", {})
    if take.__qualname__.startswith(tool_kinds.__name__):
        yield f"tools of other kinds than {', '.join(variants)}", f"{SERVER}: the model server would run them"
    for name, variant in variants.items():
        yield from reasons(variant, f"{path}[{name}]")
    for part in (*made_of.get("choices", {}).values(), made_of.get("take_part"), made_of.get("item")):
        if part is not None:
            yield from reasons(part, path)


def section() -> Iterator[str]:
    """The lines of the page's section."""
    yield HEAD
    for path, table in TABLES.items():
        known = [kind for kind, entry in KINDS[path].items() if isinstance(entry, Object) and kind != "item_reference"]
        yield f"`{path}`. Judged in every text and sent: {', '.join(known)}. Left out:\n\n| part | why |\n|---|---|"
        yield from (f"| {', '.join(f'`{name}`' for name in names)} | {why} |" for why, names in _by_reason(table))
        yield ""


def _by_reason(table: Object) -> Iterable[tuple[str, list[str]]]:
    """The parts by their reason, each called by the end of its path that begins with its kind."""
    found: dict[str, list[str]] = {}
    for path, why in reasons(table):
        if path in table.always_left_out():
            continue  # it has a row of its own on the page
        name = _END.sub("", path)
        names = found.setdefault(why, [])
        if name not in names:
            names.append(name)
    return found.items()
