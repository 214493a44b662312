"""MQTT 3.1.1 by hand over aioquic, a QUIC stack that shares nothing with ours.

Its arguments are a port of 127.0.0.1 and the authority's file. It prints what it has done, line by line,
and ends with an error at the first thing that is not as it should be. Once it has printed
`kill the broker` it goes on when a line comes in, which says that the broker is back.
"""

import asyncio
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

PATIENCE = 60

CONNACK = bytes.fromhex("20020000")
SUBACK = bytes.fromhex("9003000101")
PUBACK = bytes.fromhex("40020001")


class Protocol(QuicConnectionProtocol):
    """Keeps the ends of datagrams, where a Stateless Reset has its token."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.ends = []

    def datagram_received(self, data, addr):
        self.ends.append(data[-16:])
        super().datagram_received(data, addr)


async def connect(port, authority, protocol="mqtt"):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[protocol])
    configuration.server_name = "localhost"
    configuration.load_verify_locations(authority)
    # Not by its own `connect`, which asks for a socket of IPv6.
    _, connection = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Protocol(QuicConnection(configuration=configuration)), local_addr=("127.0.0.1", 0)
    )
    connection.connect(("127.0.0.1", port))
    await asyncio.wait_for(connection.wait_connected(), PATIENCE)
    return connection


def packet(first, *parts):
    """A packet of these parts, with its length."""
    rest = b"".join(parts)
    length, digits = len(rest), []
    while not digits or length:
        digits.append(length % 128 | (0x80 if length >= 128 else 0))
        length //= 128
    return bytes([first, *digits]) + rest


def text(string):
    return len(string).to_bytes(2, "big") + string.encode()


def publish(payload, identifier):
    return packet(0x32, text("a/b"), identifier.to_bytes(2, "big"), payload)


class Client:
    """A Client on the one stream of its connection."""

    @classmethod
    async def open(cls, port, authority, identifier):
        client = cls()
        client.connection = await connect(port, authority)
        client.reader, client.writer = await client.connection.create_stream()
        client.writer.write(packet(0x10, text("MQTT"), b"\x04\x02\x00\x00", text(identifier)))
        await client.expect(CONNACK)
        return client

    async def expect(self, expected):
        came = await asyncio.wait_for(self.reader.readexactly(len(expected)), PATIENCE)
        assert came == expected, f"{came[:40].hex()} of {len(came)} bytes"

    async def close(self):
        self.writer.write(bytes.fromhex("e000"))
        rest = await asyncio.wait_for(self.reader.read(), PATIENCE)
        assert not rest, rest[:40].hex()
        self.connection.close()
        await asyncio.wait_for(self.connection.wait_closed(), PATIENCE)


async def exchange(publisher, subscriber, payload):
    publisher.writer.write(publish(payload, 1))
    await publisher.expect(PUBACK)
    # The subscriber acknowledges each before the next, so that identifiers begin anew or count up.
    head = len(publish(payload, 1)) - len(payload) - 2
    came = await asyncio.wait_for(subscriber.reader.readexactly(head), PATIENCE)
    assert came == publish(payload, 1)[:head], came.hex()
    identifier = await asyncio.wait_for(subscriber.reader.readexactly(2), PATIENCE)
    await subscriber.expect(payload)
    subscriber.writer.write(b"\x40\x02" + identifier)


async def restart(client):
    """Whether what comes of a broker that knows nothing of this connection is its reset."""
    token = client.connection._quic._peer_cid.stateless_reset_token
    assert len(token) == 16, token
    print("kill the broker", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    async def told():
        # What was sent before is lost, and is sent again by and by.
        while token not in client.connection.ends:
            client.writer.write(bytes.fromhex("c000"))
            await asyncio.sleep(0.1)

    await asyncio.wait_for(told(), PATIENCE)


async def main(port, authority):
    subscriber = await Client.open(port, authority, "subscriber")
    publisher = await Client.open(port, authority, "publisher")
    subscriber.writer.write(packet(0x82, b"\x00\x01", text("a/#"), b"\x01"))
    await subscriber.expect(SUBACK)
    for length in (0, 5, 70_000, 1_000_000):
        await exchange(publisher, subscriber, bytes(at % 251 for at in range(length)))
    print("messages crossed", flush=True)
    for client in (publisher, subscriber):
        client.connection.request_key_update()
        client.connection.change_connection_id()
    await exchange(publisher, subscriber, b"with other keys and identifiers")
    print("messages crossed with other keys and identifiers", flush=True)
    await publisher.close()
    print("a client said goodbye", flush=True)
    try:
        await connect(port, authority, "h3")
    except ConnectionError as error:
        print(f"not let in: {error}", flush=True)
    else:
        raise AssertionError("let in with another protocol")
    await restart(subscriber)
    print("told of the restart", flush=True)


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
