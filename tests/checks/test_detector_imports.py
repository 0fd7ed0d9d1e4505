"""What a detector needs is loaded when a policy names it, so a start with a few rules is quick."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from proxy.checks.detectors import DETECTORS
from tests.waiting import PATIENCE

START = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded when it has run this code."""
    command = [sys.executable, "-c", START.format(code=code)]
    run = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True, text=True)
    return set(json.loads(run.stdout))


def test_a_start_with_the_default_policies_loads_no_number_plans() -> None:
    """Neither phonenumbers nor python-stdnum, and no detector that no rule names."""
    loaded = modules_after("from tests.policies import default; default(); import proxy.startup, proxy.server.app")
    here = {name.rpartition(".")[2] for name in loaded if name.startswith("proxy.checks.detectors.")}
    assert not {"phonenumbers", "stdnum"} & loaded
    assert here == {"catalogue", "detector", "group", "patterns", "scan", "secrets", "formats"}


@pytest.mark.parametrize(("name", "package"), [("phone", "phonenumbers"), ("iban", "stdnum")])
def test_a_detector_that_is_asked_for_loads_what_it_needs(name: str, package: str) -> None:
    """The test above would pass, too, if nothing were ever loaded."""
    code = "from proxy.checks.detectors import DETECTORS; {}"
    assert package not in modules_after(code.format("list(DETECTORS)"))
    assert package in modules_after(code.format(f"DETECTORS[{name!r}]"))


def test_the_catalogue_knows_its_names_without_loading_anything() -> None:
    """Each entry leads to the detector of that name; what is no name is a KeyError, as of any mapping."""
    assert [DETECTORS[name].name for name in DETECTORS] == list(DETECTORS)
    assert len(DETECTORS) == len(list(DETECTORS))
    assert "email" in DETECTORS
    assert "e_mail" not in DETECTORS
    assert DETECTORS.get("e_mail") is None
