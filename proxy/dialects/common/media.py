"""Pictures, sound and film in prompts: nobody here reads them, so a policy may refuse them, and none may lie elsewhere.

Source: llama.cpp's server README: a `url`, and a `data` too, may be a remote address or a path of the server's own.
"""

from __future__ import annotations

import re
from typing import Any

from proxy.dialects.request import Options
from proxy.errors import BadRequest

_is_base64 = re.compile(r"[A-Za-z0-9+/=_\-\s]*", re.ASCII).fullmatch


def check_media(source: Any, path: str, options: Options) -> None:
    """Refuse what a policy refuses, and what the model server would fetch.

    source: an address, or an object with one
    """
    if not options.allow_images:
        raise BadRequest(f"{path}: pictures and audio are refused by policy", path, "media_refused")
    inside = source if isinstance(source, dict) else {"url": source}
    is_here = _is_inline(inside.get("url")) and _is_inline(inside.get("data"), plain=True)
    if not is_here and not options.allow_remote_images:
        raise BadRequest(
            f"{path}: only data: URLs are taken, the backend would fetch anything else (setting allow_remote_images)",
            path,
            "remote_image",
        )


def _is_inline(address: Any, plain: bool = False) -> bool:
    """Whether an address holds the bytes itself, or there is none; `plain`: base64 without a head will do."""
    if not isinstance(address, str):
        return True
    return address.lower().startswith("data:") or (plain and _is_base64(address) is not None)
