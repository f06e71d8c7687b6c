from __future__ import annotations

import socket

from kappa.stack.ports import END, FIRST, ChosenPorts, is_free


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        assert not is_free(port)
    assert is_free(port)


def test_a_listener_on_all_addresses_takes_a_port_too() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - that is the point
        listener.listen()

        assert not is_free(listener.getsockname()[1])


def test_a_name_keeps_the_port_that_was_chosen_for_it() -> None:
    ports = ChosenPorts({"postgres": 20_001})

    assert ports["postgres"] == 20_001
    assert ports["s3"] == ports["s3"] == dict(ports)["s3"]


def test_chosen_ports_differ_and_are_none_that_systems_give_to_outgoing_connections() -> None:
    ports = ChosenPorts()
    chosen = [ports[str(number)] for number in range(100)]

    assert len(set(chosen)) == 100
    assert all(FIRST <= port < END for port in chosen)
