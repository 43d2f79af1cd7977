"""The compose file cannot be run here, but what it tells Kassa can be read by Kassa."""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from kassa.settings import Settings
from kassa.settings.read import read_settings

ROOT = Path(__file__).parent.parent.parent
GIVEN = {"POSTGRES_PASSWORD": "pw", "PUBLIC_URL": "https://pay.example.com"}
ROLES = {"api", "watch", "work"}


@pytest.fixture(scope="module")
def file() -> Any:  # what YAML holds
    text = (ROOT / "ops/compose.yaml").read_text("utf-8")
    return yaml.safe_load(re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: GIVEN[found[1]], text))


@pytest.fixture(scope="module")
def settings(file: Any) -> Settings:
    return read_settings(None, file["services"]["api"]["environment"])


def test_every_variable_of_the_containers_is_a_setting(file: Any, settings: Settings) -> None:
    environments: list[Mapping[str, str]] = [file["services"][role]["environment"] for role in ROLES]
    assert all(each == environments[0] for each in environments)
    assert settings.http.public_url == GIVEN["PUBLIC_URL"]


def test_payers_are_told_apart_behind_a_proxy_on_the_host(file: Any, settings: Settings) -> None:
    [pool] = file["networks"]["front"]["ipam"]["config"]
    gateway = ip_address(pool["gateway"])
    assert gateway in ip_network(pool["subnet"])
    assert settings.http.trusted_proxies == (ip_network(gateway),)  # nobody else's word, and no other container's


def test_only_this_machine_reaches_a_port_and_no_container_may_more_than_it_needs(file: Any) -> None:
    services = file["services"]
    assert [port for each in services.values() for port in each.get("ports", ())] == ["127.0.0.1:8080:8080"]
    assert {role: services[role]["command"] for role in ROLES} == {role: role for role in ROLES}
    for role in ROLES:
        assert (services[role]["read_only"], services[role]["cap_drop"]) == (True, ["ALL"])
