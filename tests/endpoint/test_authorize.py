"""The API key, and requests that browsers send for pages of other sites."""

import pytest

from endpoint import create_app
from tests.support.apps import FAKE_MODEL, ready
from tests.support.images import make_image

IMAGE = make_image(64, 48)


@pytest.mark.attack(5)
def test_api_key_is_required_if_it_is_set(monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    client = ready(create_app(FAKE_MODEL)).test_client()
    sent = [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": "é"},
        {"Authorization": "Basic MTIzNDU="},
        {"X-API-Key": "12345"},
        {"Authorization": "Bearer 12345"},
        {"X-API-Key": "12345", "Authorization": "Bearer wrong"},
        {"X-API-Key": "wrong", "Authorization": "Bearer 12345"},
    ]
    responses = [client.post("/", data=IMAGE, headers=headers) for headers in sent]
    assert [each.status_code for each in responses] == [401] * 4 + [200] * 4
    assert responses[0].headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/ping").status_code == 200
    assert "12345" not in responses[0].text


@pytest.mark.attack(5)
@pytest.mark.parametrize("key", ["a=b", "a=b==", "a,b=c", "="])
def test_key_may_contain_equal_signs(monkeypatch, key):
    monkeypatch.setenv("ENDPOINT_API_KEY", key)
    client = ready(create_app(FAKE_MODEL)).test_client()
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert client.post("/", data=IMAGE, headers=headers).status_code == 200
    other = {"Authorization": f"Token {key}"}
    assert client.post("/", data=IMAGE, headers=other).status_code == 401


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:81"},
    {"Origin": "null"},
    {"Origin": "http://["},
]


@pytest.mark.attack(17)
@pytest.mark.parametrize("headers", CROSS_SITE)
def test_cross_site_request_of_a_browser_is_refused_without_an_api_key(client, headers):
    for method in (client.post, client.put):
        response = method("/predict", data=IMAGE, headers=headers)
        assert response.status_code == 403
        assert response.json["detail"].startswith("Pages of other sites")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},  # behind a proxy with TLS
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://my_server:8000", "Host": "my_server:8000"},
    ],
)
def test_request_of_curl_and_of_the_own_page_is_answered(client, headers):
    assert client.post("/", data=IMAGE, headers=headers).status_code == 200


def test_cross_site_request_with_the_api_key_is_answered(monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "secret")
    secured = ready(create_app(FAKE_MODEL)).test_client()
    headers = {"Sec-Fetch-Site": "cross-site", "X-API-Key": "secret"}
    assert secured.post("/", data=IMAGE, headers=headers).status_code == 200
