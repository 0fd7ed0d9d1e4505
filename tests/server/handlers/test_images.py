"""Pictures and audio in prompts: nobody reads them here, so a policy may refuse them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.types import Direction
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import Policies, running, said

RULE = "rules: [{id: r, words: [bomb], action: flag}]"


def plan(text: str) -> Any:
    """The plan for a user's message to the model m."""
    source = Source("p.yaml", f"version: 1\npolicy: p\n{text}\n{RULE}\n".encode())
    return compile_policies([source], hash_key=b"k").plan(Direction.INPUT, model="m", role="user")


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("images: refuse", True),
        ("images: allow", False),
        ("", False),
        ("images: refuse\nmode: monitor", False),
        ("images: refuse\napplies_to: {models: [other]}", False),
    ],
)
def test_a_policy_decides_about_pictures(text: str, refuses: bool) -> None:
    """`images: refuse` counts where the policy applies and is enforced."""
    assert plan(text).refuses_images is refuses


@pytest.mark.anyio
@pytest.mark.parametrize("refuses", [True, False])
async def test_a_picture_is_refused_where_a_policy_says_so(refuses: bool) -> None:
    """A prompt with a picture is a 400 that names it; by default it goes to the model unread."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}]
    policies = Policies(refuses_images=refuses)
    async with FakeUpstream(reply(sse(*said("ok")))) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat(messages=messages)
        assert answer.status == (400 if refuses else 200)
        assert len(upstream.requests) == (0 if refuses else 1)
        if refuses:
            assert answer.json()["error"]["param"] == "messages[0].content[1]"
