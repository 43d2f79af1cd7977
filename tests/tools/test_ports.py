"""The ports of the tests are their own."""

import socket

import pytest

from tests.tools.ports import free_port


def test_a_port_is_nobodys_but_a_servers_before_it_starts_and_after_it_ended() -> None:
    port = free_port()
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))  # as from where a connection goes out
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)
