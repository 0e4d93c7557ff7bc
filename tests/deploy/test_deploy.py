"""The manifests in deploy/, compared with the code and with their schemas."""

import re
import tomllib

import pytest
import yaml
from prometheus_client import REGISTRY

from endpoint import create_app
from endpoint.settings import Settings
from tests.support.server import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
KEDA = yaml.safe_load((DEPLOY / "keda.yaml").read_text())
POD = KUBERNETES[0]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
NGINX = (DEPLOY / "nginx.conf").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def default(setting: str):
    return Settings.model_fields[setting].default


@pytest.mark.parametrize("object", KUBERNETES, ids=lambda object: object["kind"])
def test_kubernetes_accepts_every_field(object):
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(object, "1.31", strict=True)


def test_manifests_give_gunicorn_time_to_stop(gunicorn):
    grace = gunicorn["graceful_timeout"]
    pre_stop = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] >= grace + pre_stop
    assert int(COMPOSE["services"]["endpoint"]["stop_grace_period"][:-1]) >= grace
    assert int(re.search(r"proxy_read_timeout (\d+)s", NGINX)[1]) >= grace


def test_manifests_for_gpus_never_fall_back_to_the_cpu():
    assert {"name": "ENDPOINT_DEVICE", "value": "cuda"} in CONTAINER["env"]
    assert "ENDPOINT_DEVICE=cuda" in COMPOSE["services"]["endpoint"]["environment"]


def test_kubernetes_probes_routes_that_exist():
    app = create_app("tests.support.fake_model")
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in routes


def test_kubernetes_scales_on_a_metric_that_exists():
    pods = KUBERNETES[2]["spec"]["metrics"][0]["pods"]
    assert pods["metric"]["name"] in {metric.name for metric in REGISTRY.collect()}
    assert int(pods["target"]["averageValue"]) < default("queue")


def test_keda_scales_like_the_autoscaler_of_kubernetes():
    autoscaler, keda = KUBERNETES[2]["spec"], KEDA["spec"]
    (metric,), (trigger,) = autoscaler["metrics"], keda["triggers"]
    assert keda["scaleTargetRef"]["name"] == autoscaler["scaleTargetRef"]["name"]
    replicas = keda["minReplicaCount"], keda["maxReplicaCount"]
    assert replicas == (autoscaler["minReplicas"], autoscaler["maxReplicas"])
    target = metric["pods"]["target"]
    assert trigger["metricType"] == target["type"]
    assert trigger["metadata"]["threshold"] == target["averageValue"]
    assert f"({metric['pods']['metric']['name']})" in trigger["metadata"]["query"]
    own = keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert own == autoscaler["behavior"]


def test_kubernetes_limits_the_cores_that_decode():
    assert int(CONTAINER["resources"]["limits"]["cpu"]) >= 4


def test_nginx_has_the_upload_limit_of_the_endpoint():
    max_bytes = int(re.search(r"client_max_body_size (\d+);", NGINX)[1])
    assert max_bytes == default("max_upload_mb") * 1_000_000


def test_compose_mounts_the_socket_for_both_services():
    services = COMPOSE["services"]
    socket = re.search(r"unix:(\S+);", NGINX)[1]
    assert f"unix:{socket}" in services["endpoint"]["command"]
    for service in services.values():
        folder = socket.rpartition("/")[0]
        assert f"socket:{folder}" in service["volumes"]


def test_cerebrium_includes_what_the_dockerfile_copies():
    settings = tomllib.loads((DEPLOY / "cerebrium.toml").read_text())["cerebrium"]
    included = set(settings["deployment"]["include"])
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M)
    names = {name.removesuffix("/*") for name in included}
    assert names == {"Dockerfile", *allowed}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {settings['runtime']['custom']['port']}" in dockerfile


def test_readme_mentions_every_file():
    readme = (DEPLOY / "README.md").read_text()
    for file in DEPLOY.iterdir():
        if file.suffix and file.name != "README.md":
            assert f"`{file.name}`" in readme
