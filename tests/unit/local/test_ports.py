"""Ports are free when they are chosen, and a taken one is named."""

import socket

import pytest

from orderflow.local.errors import LocalError
from orderflow.local.ports import HIGHEST, LOWEST, free_ports, refuse_taken_port


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = free_ports(15)
    assert len(set(ports)) == 15
    assert all(LOWEST <= port < HIGHEST for port in ports)


def test_a_taken_port_is_named_with_the_field_that_chooses_another() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(LocalError) as caught:
            refuse_taken_port("127.0.0.1", port, "spec.gateway.port")
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is in use: end what listens there, or name another in spec.gateway.port"
    )


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(LocalError, match=r"^nobody can listen on port 80 of 192\.0\.2\.1 \(spec\.gateway\.port\)"):
        refuse_taken_port("192.0.2.1", 80, "spec.gateway.port")


def test_a_free_port_is_taken() -> None:
    [port] = free_ports(1)
    refuse_taken_port("127.0.0.1", port, "spec.gateway.port")
