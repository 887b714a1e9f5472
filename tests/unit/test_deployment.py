"""The deployment files say what the engine understands, and start it with no more rights than it needs.

No container engine takes part: what only one can tell (that the image builds, that a cluster accepts the chart) is not
tested here. `hadolint` and `helm` are asked where they are installed.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fillwright import __version__
from fillwright.cli import make_parser
from fillwright.commands.completion import commands_of
from fillwright.config import SETTINGS, load
from fillwright.policy import Policy
from tests import metrics

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "fillwright"
COMMANDS = {"serve", "worker", "simchain"}
"""What a deployment runs."""
ALL_COMMANDS = {name for action in make_parser()._actions for name in (action.choices or ())}
SECRETS = {f"{name}_FILE" for setting in SETTINGS if setting.is_secret for name in setting.names}
NAMES = {name for setting in SETTINGS for name in setting.names} | SECRETS
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


COMPOSE = _yaml("compose.yaml")
ENGINES = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _instructions(name: str) -> list[str]:
    """Its arguments, wherever the Dockerfile has this instruction, on one line each."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


# --- image ------------------------------------------------------------------------------------------------


def test_the_image_is_installed_from_the_lock_and_runs_as_nobody() -> None:
    assert any("--require-hashes -r requirements-production.lock" in run for run in _instructions("RUN"))
    assert [base.split(" AS ")[0] for base in _instructions("FROM")] == ["python:${PYTHON}"] * 2
    user = _instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a name could be root for all Kubernetes knows"
    assert f"-o {user.split(':')[0]}" in DOCKERFILE, "the data folder belongs to another user"


def test_the_image_starts_the_engine_without_a_shell() -> None:
    assert json.loads(_instructions("ENTRYPOINT")[0]) == ["fillwright"]
    assert json.loads(_instructions("CMD")[-1]) == ["serve"]
    check = json.loads(_instructions("HEALTHCHECK")[0].split("CMD ")[1])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "healthcheck", "exec")


def test_the_image_is_built_from_named_files_only() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {name for copy in _instructions("COPY") if "--from" not in copy for name in copy.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_speaks_in_settings() -> None:
    (environment,) = _instructions("ENV")
    given = dict(pair.split("=", 1) for pair in environment.split())
    ours = {name: text for name, text in given.items() if not name.startswith("PYTHON") and name != "PATH"}
    assert ours.keys() <= NAMES
    assert load(ours).host == "0.0.0.0"


# --- compose ----------------------------------------------------------------------------------------------


def test_compose_follows_its_specification() -> None:
    _check("--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}
    assert "healthcheck" in service or "build" in service, "the image brings one"
    if "build" not in service:
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "until a key is made, whoever reaches it may trade"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_an_image_has_a_full_version(name: str) -> None:
    _, _, tag = COMPOSE["services"][name]["image"].partition(":")
    assert re.match(r"v?\d+\.\d+", tag)


@pytest.mark.parametrize("name", ENGINES)
def test_compose_starts_commands_with_settings_that_exist(name: str) -> None:
    service = ENGINES[name]
    (command,) = service["command"]
    assert command in COMMANDS
    assert service["environment"].keys() <= NAMES
    assert all(isinstance(text, str) for text in service["environment"].values())


def test_compose_gives_its_engines_a_configuration_that_loads(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    for service in ENGINES.values():
        env = {name: str(secret) if name in SECRETS else text for name, text in service["environment"].items()}
        config = load(env)
        assert (config.database is None) == (config.redis is None) == (config.chain is None) == ("PGHOST" not in env)


def test_there_is_time_to_drain() -> None:
    assert all(_seconds(service["stop_grace_period"]) >= Policy().drain_s + 10 for service in ENGINES.values())
    assert _yaml("render.yaml")["services"][0]["maxShutdownDelaySeconds"] >= Policy().drain_s + 10
    assert json.loads((ROOT / "railway.json").read_text())["deploy"]["drainingSeconds"] >= Policy().drain_s + 10


def test_what_compose_mounts_is_there_and_secrets_are_not() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]
    ignored = (ROOT / ".gitignore").read_text().split()
    for secret in COMPOSE["secrets"].values():
        assert f"/{Path(secret['file']).parent}/" in ignored


def test_the_database_keeps_its_promises_and_redis_makes_none() -> None:
    postgres, redis = COMPOSE["services"]["postgres"]["command"], COMPOSE["services"]["redis"]["command"]
    assert {"fsync=on", "full_page_writes=on", "synchronous_commit=on"} <= set(postgres)
    told = dict(zip(redis[1::2], redis[2::2], strict=True))
    assert told["--maxmemory-policy"] == "noeviction"
    assert (told["--save"], told["--appendonly"]) == ("", "no")


# --- monitoring -------------------------------------------------------------------------------------------


def test_prometheus_asks_services_at_the_ports_they_have() -> None:
    for job in _yaml("deploy/prometheus.yml")["scrape_configs"]:
        (target,) = job["dns_sd_configs"]
        (service,) = target["names"]
        assert target["port"] == int(ENGINES[service]["environment"].get("PORT", 3000))


def test_the_dashboard_shows_metrics_that_exist() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/fillwright.json").read_text())
    source = _yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        for target in panel["targets"]:
            assert set(re.findall(r"fillwright_\w+", target["expr"])) <= metrics.names()
    assert _yaml("deploy/grafana/provisioning/dashboards/files.yml")["providers"]


def test_alerts_watch_metrics_that_exist_and_are_loaded() -> None:
    rules = [rule for group in _yaml("deploy/alerts.yml")["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        watched = set(re.findall(r"fillwright_\w+", rule["expr"]))
        assert watched <= metrics.names()
        assert watched or "up{" in rule["expr"]
        assert rule["annotations"]["summary"]
    (loaded,) = _yaml("deploy/prometheus.yml")["rule_files"]
    assert f"./deploy/alerts.yml:{loaded}:ro" in _yaml("compose.yaml")["services"]["prometheus"]["volumes"]


def test_the_page_of_metrics_is_what_the_engine_registers() -> None:
    assert metrics.shown() == metrics.table(), "run `python -m tests.metrics`"


# --- platforms --------------------------------------------------------------------------------------------


def test_the_procfile_starts_commands_that_exist() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert {line.split(": fillwright ")[1] for line in lines} <= COMMANDS


def test_a_platform_file_keeps_the_data_on_a_volume() -> None:
    """Both run the embedded engine: without one, a deploy would lose the orders."""
    (service,) = _yaml("render.yaml")["services"]
    assert service["disk"]["mountPath"] == "/data"
    assert service["numInstances"] == 1
    assert {each["key"] for each in service["envVars"]} <= NAMES
    railway = json.loads((ROOT / "railway.json").read_text())["deploy"]
    assert (railway["requiredMountPath"], railway["numReplicas"]) == ("/data", 1)


def test_whatever_listens_for_other_machines_says_who_may_come_in() -> None:
    """Without one of these the engine would not start."""
    ways = {"FILLWRIGHT_OPEN", "FILLWRIGHT_FIRST_KEY", "FILLWRIGHT_FIRST_KEY_FILE"}
    assert ways & ENGINES["api"]["environment"].keys()
    assert ways & {each["key"] for each in _yaml("render.yaml")["services"][0]["envVars"]}
    assert "key: FILLWRIGHT_FIRST_KEY, optional: true" in TEMPLATES["api.yaml"]
    runs = [line for line in (ROOT / "docs" / "DEPLOY.md").read_text().splitlines() if "--publish" in line]
    assert runs
    assert all("--env FILLWRIGHT_OPEN=localhost" in line and "127.0.0.1:" in line for line in runs)


# --- chart ------------------------------------------------------------------------------------------------

TEMPLATES = {path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())}
WORKLOADS = [text for text in TEMPLATES.values() if "containers:" in text]


def test_the_values_follow_their_schema() -> None:
    _check("--schemafile", str(CHART / "values.schema.json"), str(CHART / "values.yaml"))


def test_the_chart_has_the_version_of_the_package() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    assert all(service["image"] == f"fillwright:{__version__}" for service in ENGINES.values())


def test_the_chart_speaks_in_settings_and_commands() -> None:
    text = "\n".join(TEMPLATES.values())
    assert set(re.findall(r"- name: ([A-Z][A-Z_]+)", text)) <= NAMES
    commands = re.findall(r"args: \[(\w+)\]", text)
    assert len(commands) == len(WORKLOADS)
    assert set(commands) <= COMMANDS


def test_the_schema_lets_any_engine_setting_through_and_no_misspelt_one() -> None:
    pattern = json.loads((CHART / "values.schema.json").read_text())["properties"]["env"]["propertyNames"]["pattern"]
    allowed = {name for name in NAMES if re.search(pattern, name)}
    assert {name for name in NAMES if name.startswith("FILLWRIGHT_")} <= allowed
    secret = {name for name in allowed - {"FILLWRIGHT_URL"} if "URL" in name or "PASS" in name}
    assert not secret, "secrets belong in the Secret"


@pytest.mark.parametrize("text", WORKLOADS)
def test_every_pod_is_restricted(text: str) -> None:
    assert '{{- include "fillwright.pod" . |' in text
    assert '{{- include "fillwright.container" . |' in text
    assert "terminationGracePeriodSeconds:" in text


def test_a_restricted_pod_is_one() -> None:
    parts = TEMPLATES["_parts.tpl"]
    for line in (
        "enableServiceLinks: false",
        "automountServiceAccountToken: false",
        "runAsNonRoot: true",
        "seccompProfile: { type: RuntimeDefault }",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "capabilities: { drop: [ALL] }",
        "path: /startupz,",
        "path: /readyz,",
        "path: /livez,",
    ):
        assert line in parts
    assert f"runAsUser: {_instructions('USER')[-1].split(':')[0]}" in parts


# --- pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_settings_and_files_that_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"FILLWRIGHT_[A-Z_]*[A-Z]", text)) <= NAMES
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    assert set(re.findall(r"`fillwright (\w+)", text)) <= {command.name for command in commands_of(make_parser())}


# --- tools that may be there ------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    _run("hadolint", "Dockerfile")


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize(
    "values", [[], ["--set", "simchain.enabled=false,chainUrl=http://chain:8899", "--set-string", "env.CONCURRENCY=20"]]
)
def test_helm_renders_the_chart(values: list[str]) -> None:
    documents = list(yaml.safe_load_all(_run("helm", "template", "demo", str(CHART), *values)))
    pods = [each["spec"]["template"]["spec"] for each in documents if each and "template" in each["spec"]]
    assert len(pods) == (2 if values else 3)
    for variable in (each for pod in pods for each in _environment(pod)):
        assert variable["name"] in NAMES


def _environment(pod: Any) -> Iterator[Any]:
    for container in pod["containers"]:
        yield from container["env"]


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def _check(*arguments: str) -> None:
    _run(sys.executable, "-m", "check_jsonschema", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
