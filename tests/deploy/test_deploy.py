"""What deploy/ promises to those who run it, held against the code and the schemas."""

import re
import tomllib

import pytest
import yaml

from endpoint.settings import DEFAULTS
from tests.support.server import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
POD = KUBERNETES[0]["spec"]["template"]["spec"]
NGINX = (DEPLOY / "nginx.conf").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.mark.parametrize("object", KUBERNETES, ids=lambda object: object["kind"])
def test_kubernetes_knows_every_field(object):
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(object, "1.31", strict=True)


def test_all_give_the_endpoint_time_to_end(gunicorn):
    grace = gunicorn["graceful_timeout"]
    stop = int(POD["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] >= grace + stop
    assert int(COMPOSE["services"]["endpoint"]["stop_grace_period"][:-1]) >= grace
    assert int(re.search(r"proxy_read_timeout (\d+)s", NGINX)[1]) >= grace


def test_kubernetes_asks_addresses_that_exist_and_scales_on_a_real_figure():
    from prometheus_client import REGISTRY

    from endpoint import create_app

    addresses = {rule.rule for rule in create_app("tests.support.fake_model").url_map.iter_rules()}
    (container,) = POD["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in addresses
    pods = KUBERNETES[2]["spec"]["metrics"][0]["pods"]
    assert pods["metric"]["name"] in {metric.name for metric in REGISTRY.collect()}
    assert int(pods["target"]["averageValue"]) < DEFAULTS["QUEUE"]


def test_nginx_takes_as_many_bytes_as_the_endpoint():
    most = int(re.search(r"client_max_body_size (\d+);", NGINX)[1])
    assert most == DEFAULTS["MAX_UPLOAD_MB"] * 1_000_000


def test_compose_mounts_the_socket_where_both_look_for_it():
    services = COMPOSE["services"]
    socket = re.search(r"unix:(\S+);", NGINX)[1]
    assert f"unix:{socket}" in services["endpoint"]["command"]
    for service in services.values():
        folder = socket.rpartition("/")[0]
        assert f"socket:{folder}" in service["volumes"]


def test_cerebrium_includes_what_the_dockerfile_copies():
    settings = tomllib.loads((DEPLOY / "cerebrium.toml").read_text())["cerebrium"]
    kept = set(settings["deployment"]["include"])
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M)
    assert {name.removesuffix("/*") for name in kept} == {"Dockerfile", *allowed}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {settings['runtime']['custom']['port']}" in dockerfile


def test_readme_tells_of_every_file():
    readme = (DEPLOY / "README.md").read_text()
    for file in DEPLOY.iterdir():
        if file.suffix and file.name != "README.md":
            assert f"`{file.name}`" in readme
