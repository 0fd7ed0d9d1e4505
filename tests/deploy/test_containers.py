"""compose.yaml and kubernetes/, as far as files show it: neither Docker nor a cluster runs here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import ROWS, variable
from proxy.values import seconds
from tests.deploy.stack import DEPLOY
from tests.waiting import PATIENCE

COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
RELEASES = ("1.29", "1.34")
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
PROXY = SERVICES["proxy"]
SETTINGS = {variable(name) for name in ROWS}
PROMTOOL = shutil.which("promtool")
KUBECTL = shutil.which("kubectl")


def _kustomize_is_old() -> bool:
    """Debian 12's kubectl has a kustomize of 2019, which cannot read what is written today."""
    if KUBECTL is None:
        return True
    said = subprocess.run(
        [KUBECTL, "version", "--client"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    found = re.search(r"Kustomize Version: v(\d+)", said.stdout)
    return found is None or int(found[1]) < 4


needs_kubectl = pytest.mark.skipif(_kustomize_is_old(), reason="there is no kubectl with kustomize 4 or newer")
needs_schemas = pytest.mark.skipif(
    find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed"
)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def against_compose(file: Path) -> subprocess.CompletedProcess[str]:
    """The file against the schema of compose files."""
    return run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """It passes compose's own schema; with a misspelt key it would not."""
    done = against_compose(COMPOSE)
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yaml").write_text(COMPOSE.read_text("utf-8").replace("healthcheck:", "healtcheck:"), "utf-8")
    assert against_compose(tmp_path / "wrong.yaml").returncode != 0


def test_nobody_reaches_the_model_server_but_the_proxy() -> None:
    """It publishes no port, and shares a network with the proxy alone."""
    ollama = SERVICES["ollama"]
    assert "ports" not in ollama
    beside = {name for name, one in SERVICES.items() if set(one["networks"]) & set(ollama["networks"])}
    assert beside == {"ollama", "proxy"}


def test_ports_are_published_on_this_machine_only() -> None:
    """Nobody else is asked for a key, so nobody else may come; the admin listener is not published at all."""
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any(port.endswith(":9435") for port in published)


def test_the_variables_of_the_proxy_are_settings() -> None:
    """In compose.yaml and in Kubernetes: a misspelt one would stop the start."""
    assert set(PROXY["environment"]) <= SETTINGS
    assert {entry["name"] for entry in _container()["env"]} <= SETTINGS


def test_who_is_asked_for_a_key_is_said() -> None:
    """compose.yaml says that nobody is; Kubernetes mounts keys, and takes back what the image allows."""
    assert PROXY["environment"]["SAFETY_PROXY_ALLOW_ANONYMOUS"] == "true"
    environment = _environment()
    assert environment["SAFETY_PROXY_ALLOW_ANONYMOUS"] == "false"
    mounts = {mount["mountPath"] for mount in _container()["volumeMounts"]}
    assert str(Path(environment["SAFETY_PROXY_KEYS"]).parent) in mounts


def test_what_compose_mounts_is_there() -> None:
    """Each file and folder stands in the repository; the policies are a folder, so that edits are seen."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
    assert (DEPLOY / "../policies").is_dir()


def test_grafana_finds_the_dashboard_where_it_is_mounted() -> None:
    """The provider's folder is where compose.yaml puts it, and the data source is Prometheus' service."""
    folder = DEPLOY / "grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/safety-proxy.yaml").read_text("utf-8"))["providers"]
    mounts = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert any(mount.startswith(provider["options"]["path"] + "/") for mount in mounts)
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES


@needs_promtool
def test_prometheus_reads_what_compose_gives_it(tmp_path: Path) -> None:
    """The configuration and the rules, laid out as they are mounted."""
    assert PROMTOOL is not None
    for volume in SERVICES["prometheus"]["volumes"]:
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            shutil.copy(DEPLOY / source, tmp_path / Path(rest.partition(":")[0]).name)
    done = run(PROMTOOL, "check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_container_is_not_killed_before_its_grace_is_over() -> None:
    """Docker and Kubernetes wait for the pause before the end, the grace, and the last responses."""
    grace = seconds(PROXY["environment"]["SAFETY_PROXY_GRACE"])
    assert seconds(PROXY["stop_grace_period"]) > grace + 5
    pause = int(_container()["lifecycle"]["preStop"]["exec"]["command"][1])
    given = _pod()["terminationGracePeriodSeconds"]
    assert given > pause + seconds(_environment()["SAFETY_PROXY_GRACE"]) + 5


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / "base" / name).read_text("utf-8")))


def _pod() -> dict[str, Any]:
    found: dict[str, Any] = _documents("deployment.yaml")[0]["spec"]["template"]["spec"]
    return found


def _container() -> dict[str, Any]:
    found: dict[str, Any] = _pod()["containers"][0]
    return found


def _environment() -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in _container()["env"]}


@pytest.fixture(name="built", params=["base", "overlays/ollama"])
def fixture_built(request: pytest.FixtureRequest) -> str:
    """What kustomize makes of it."""
    assert KUBECTL is not None
    done = run(KUBECTL, "kustomize", str(KUBERNETES / request.param))
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return done.stdout


def validate(text: str, file: Path, release: str) -> subprocess.CompletedProcess[str]:
    """The manifests against the schemas of a release of Kubernetes; unknown keys are errors."""
    file.write_text(text, "utf-8")
    program = Path(sys.executable).with_name("kubernetes-validate")
    return run(str(program), "--strict", "-k", release, str(file))


@needs_kubectl
@needs_schemas
def test_the_manifests_are_right(built: str, tmp_path: Path) -> None:
    """Each one passes the schemas of an old and a new release."""
    for release in RELEASES:
        done = validate(built, tmp_path / "all.yaml", release)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.count("passed") + done.stdout.count("passed") == built.count("\nkind: ")


@needs_kubectl
@needs_schemas
@pytest.mark.parametrize(
    ("right", "wrong"), [("maxUnavailable: 1\n", "maxUnavailable: []\n"), ("minReplicas", "minReplica")]
)
def test_a_wrong_manifest_is_found(built: str, right: str, wrong: str, tmp_path: Path) -> None:
    """A wrong type, a misspelt key: the validator is not blind."""
    assert right in built
    assert validate(built.replace(right, wrong), tmp_path / "all.yaml", RELEASES[-1]).returncode != 0


@needs_kubectl
def test_an_edit_of_the_policies_restarts_no_pod(built: str) -> None:
    """The ConfigMap keeps its name, whatever is in it: running proxies see the edit."""
    manifests = list(yaml.safe_load_all(built))
    names = {one["metadata"]["name"] for one in manifests if one["kind"] == "ConfigMap"}
    assert names == {"safety-proxy-policies"}
    mounts = [mount for mount in _container()["volumeMounts"] if "subPath" in mount]
    assert mounts == []


@needs_kubectl
def test_only_the_proxy_reaches_the_model_server_in_the_cluster(built: str) -> None:
    """A network policy selects the model server's pods, and lets in the proxy's; every label is one of a pod."""
    manifests = list(yaml.safe_load_all(built))
    policy = next(one for one in manifests if one["metadata"]["name"] == "model-server")
    ((source,),) = (rule["from"] for rule in policy["spec"]["ingress"])
    assert source == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "safety-proxy"}}}
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in manifests if "template" in one.get("spec", {})]
    names = {labels["app.kubernetes.io/name"] for labels in pods}
    assert names >= {"safety-proxy", "safety-proxy-valkey"}
    if "kind: StatefulSet" in built:
        assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] in names


def test_the_policies_of_the_base_are_the_shipped_ones() -> None:
    """kustomize reads no file outside its folder, so they are copies."""
    for copy in (KUBERNETES / "base/policies").iterdir():
        assert copy.read_text("utf-8") == (DEPLOY.parent / "policies" / copy.name).read_text("utf-8"), copy.name


def test_probes_ask_the_proxy_and_not_the_model_server() -> None:
    """Liveness is the event loop; readiness ends with SIGTERM; setting ready_needs_upstream stays off."""
    container = _container()
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert "SAFETY_PROXY_READY_NEEDS_UPSTREAM" not in _environment()
