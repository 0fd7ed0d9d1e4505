"""What is delivered: the wheel and the image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from proxy.demo.backend import DemoBackend
from proxy.settings import ROWS, variable
from tests.policies import COPIES, SHIPPED
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
DOCKERFILE = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text("utf-8"))


def exec_form(instruction: str) -> list[str]:
    """The arguments of an instruction of the Dockerfile in exec form."""
    found = re.search(rf"^{instruction}[^\[\n]*(\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None, f"{instruction} is missing, or not in exec form"
    arguments: list[str] = json.loads(found[1])
    return arguments


def test_the_wheel_holds_the_policies_and_the_schema(tmp_path: Path) -> None:
    """An installed proxy starts with the shipped policies, without the repository beside it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("proxy", "policies", "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", tmp_path, source], check=True, capture_output=True, timeout=PATIENCE)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = wheel.namelist()
    wanted = ["proxy/policy/policy.schema.json", "proxy/py.typed", "proxy/cli/serve.py"]
    wanted += [f"proxy/audit/{name}" for name in ("prompts.csv", "page_files/page.html.jinja", "page_files/page.js")]
    wanted += ["proxy/demo/policies/demo.yaml", "proxy/cli/new_check_files/check.py.txt"]
    wanted += [f"proxy/policies/{path.relative_to(SHIPPED)}" for path in SHIPPED.rglob("*.yaml")]
    assert set(wanted) <= set(held)
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_image_runs_as_a_numeric_user_and_without_a_shell() -> None:
    """Kubernetes' runAsNonRoot needs a number; signals must reach the proxy itself."""
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert exec_form("ENTRYPOINT") == ["/app/bin/safety-proxy"]
    assert exec_form("CMD") == ["serve"]
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:\S+-slim\S*@sha256:[0-9a-f]{64}", bases[0])
    assert set(bases[1:]) == {"base"}


def test_the_images_variables_are_settings() -> None:
    """A misspelt one would stop the container's start."""
    named = set(re.findall(r"\b(SAFETY_PROXY_\w+)=", DOCKERFILE))
    assert named
    assert named <= {variable(name) for name in ROWS}


def test_the_health_check_tells_a_living_proxy_from_a_dead_one() -> None:
    """Exit code 0 while the proxy answers, something else when nothing is there, in bounded time."""
    command = re.search(r"HEALTHCHECK.*?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert command is not None
    _, *arguments = json.loads(command[1])
    with DemoBackend(0) as backend, ProxyProcess(upstream=backend.url, policies=COPIES) as proxy:
        port = proxy.admin_url.rpartition(":")[2]
        assert health(arguments, port) == 0
    assert health(arguments, port) != 0


def health(arguments: list[str], port: str) -> int:
    """The exit code of the image's health check against another port."""
    assert any("9435" in argument for argument in arguments)
    here = [sys.executable, *(argument.replace("9435", port) for argument in arguments)]
    return subprocess.run(here, capture_output=True, timeout=PATIENCE, check=False).returncode


@pytest.mark.parametrize(
    "name", ["policies", "proxy", "pyproject.toml", "requirements/run.lock", "LICENSE", "README.md"]
)
def test_what_the_image_copies_is_not_ignored(name: str) -> None:
    """.dockerignore lists what is let in; a COPY of anything else would fail."""
    assert f"!{name}" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert name in DOCKERFILE
