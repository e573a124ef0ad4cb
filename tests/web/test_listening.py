"""Addresses to listen on."""

import socket
from contextlib import ExitStack

import pytest

from exporter.errors import ConfigError, ExporterError
from exporter.web import address_of, bind
from tests.support.programs import free_port


def listening(*addresses: str) -> list[str]:
    with ExitStack() as stack:
        return [address_of(stack.enter_context(bound)) for bound in bind(addresses)]


def reaches(address: str, family: socket.AddressFamily, host: str) -> bool:
    with socket.socket(family) as caller:
        caller.settimeout(2)
        return caller.connect_ex((host, int(address.rpartition(":")[2]))) == 0


def test_port_0_takes_a_free_one() -> None:
    (address,) = listening("127.0.0.1:0")
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0


def test_each_address_has_its_own_socket() -> None:
    assert len(set(listening("127.0.0.1:0", "127.0.0.1:0", "[::1]:0"))) == 3


def test_ipv6_is_written_in_brackets() -> None:
    assert listening("[::1]:0")[0].startswith("[::1]:")


def test_an_address_without_a_host_listens_on_every_interface() -> None:
    with ExitStack() as stack:
        (bound,) = (stack.enter_context(listening) for listening in bind([":0"]))
        assert reaches(address_of(bound), socket.AF_INET, "127.0.0.1")
        assert reaches(address_of(bound), socket.AF_INET6, "::1")


@pytest.mark.parametrize(
    "address",
    ["", "10088", "localhost", "localhost:", ":port", "::1:0", "[::1]", "127.0.0.1:65536", ":-1", "a b:1:2"],
)
def test_an_invalid_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ConfigError, match="host:port, as in :10088"):
        bind([address])


def test_a_taken_port_is_named() -> None:
    with ExitStack() as stack:
        (taken,) = (stack.enter_context(listening) for listening in bind(["127.0.0.1:0"]))
        with pytest.raises(ExporterError, match=f"cannot listen on {address_of(taken)}: .*in use"):
            bind([address_of(taken)])


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        ExporterError, match=r"cannot listen on no-such-host\.invalid:0: the host name does not resolve"
    ):
        bind(["no-such-host.invalid:0"])


def test_a_refused_address_leaves_no_socket_open() -> None:
    free = f"127.0.0.1:{free_port()}"
    for wrong in ("nonsense", "no-such-host.invalid:0"):
        with pytest.raises(ExporterError):
            bind([free, wrong])
    assert listening(free) == [free]
