"""docs/policies.md and the JSON Schema say what the types say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from proxy.checks.detectors import DETECTORS, Detector
from proxy.checks.markers import MARKER_DETECTORS, MarkerDetector
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK, SystemPromptDetector
from proxy.policy import schema
from proxy.policy.schema import json_schema_text
from proxy.settings import DEMO_POLICIES
from tests.policies import COPIES, SHIPPED
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent.parent
DOC = (ROOT / "docs/policies.md").read_text("utf-8")
SCHEMA = ROOT / "proxy/policy/policy.schema.json"
FILES = sorted((*COPIES.glob("*.yaml"), *SHIPPED.rglob("*.yaml"), *DEMO_POLICIES.glob("*.yaml")))
STRUCTS = [s for s in vars(schema).values() if isinstance(s, type) and issubclass(s, msgspec.Struct)]
KEYS = sorted({field for struct in STRUCTS for field in struct.__struct_encode_fields__})


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_row(key: str) -> None:
    """Each key of a policy file starts a row of one of the tables, or has a table of its own."""
    assert f"\n| `{key}` |" in DOC


ALL = [*DETECTORS.values(), *MARKER_DETECTORS.values(), SYSTEM_PROMPT_LEAK]


@pytest.mark.parametrize("detector", ALL, ids=lambda d: d.name)
def test_every_detector_has_a_row(detector: Detector | MarkerDetector | SystemPromptDetector) -> None:
    """The table of detectors says what each finds, in its own words."""
    assert f"\n| `{detector.name}` | {detector.about} |" in DOC


def test_the_shipped_schema_is_the_one_of_the_types() -> None:
    """proxy/policy/policy.schema.json is what json_schema_text() makes today."""
    assert SCHEMA.read_text("utf-8") == json_schema_text()


def check_jsonschema(*files: Path) -> int:
    """The exit code of check-jsonschema."""
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(SCHEMA), *map(str, files)]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode


def test_shipped_policies_follow_the_schema_and_name_it() -> None:
    """Editors find the schema in line 1, and so does another validator than ours."""
    assert FILES
    for path in FILES:
        key, _, schema = path.read_text("utf-8").splitlines()[0].partition("=")
        if path.parent != SHIPPED:  # an operator's own files there need not name it
            assert key == "# yaml-language-server: $schema"
        if key == "# yaml-language-server: $schema":
            assert (path.parent / schema).resolve() == SCHEMA
    assert check_jsonschema(*FILES) == 0


@pytest.mark.parametrize(
    "rule",
    [
        {"id": "a", "action": "block"},
        {"id": "a", "action": "block", "words": ["b"], "pattern": "c"},
        {"id": "a", "action": "stop", "words": ["b"]},
        {"id": "a b", "action": "block", "words": ["b"]},
        {"id": "a", "action": "block", "words": []},
        {"id": "a", "action": "block", "words": ["b"], "folds": True},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(rule: dict[str, object], tmp_path: Path) -> None:
    """No source, two sources, a wrong action, a wrong id, an empty list, an unknown key."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"version": 1, "policy": "x", "rules": [rule]}))
    assert check_jsonschema(path) == 1


@pytest.mark.parametrize("detector", [one for one in DETECTORS.values() if one.kinds], ids=lambda d: d.name)
def test_every_kind_is_listed(detector: Detector) -> None:
    """docs/detection.md names all that `only` and `except` take."""
    listed = (ROOT / "docs/detection.md").read_text("utf-8")
    assert [kind for kind in detector.kinds if f"\n| `{kind}`" not in listed] == []
