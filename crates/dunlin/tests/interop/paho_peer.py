"""A scripted MQTT peer: several paho-mqtt clients driven by lines on standard input.

A command is `CLIENT VERB key=value ...`, an event on standard output is `CLIENT KIND key=value ...`.
Values are percent-encoded, payloads and correlation data are hexadecimal, MQTT 5 properties are
`prop.Name=value`, and a key may be repeated. Every command is answered by events alone, so that the
tests wait for what happened and never for time to pass. The end of the input ends the program.
"""

import socket
import sys
import threading
from urllib.parse import quote, unquote

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}

TEXT = {"ContentType", "ResponseTopic", "AssignedClientIdentifier", "ReasonString"}
TEXT |= {"ResponseInformation", "ServerReference", "AuthenticationMethod"}
BYTES = {"CorrelationData", "AuthenticationData"}

output = threading.Lock()


def say(name, kind, fields):
    words = [f"{key}={quote(str(value), safe='/')}" for key, value in fields]
    with output:
        print(name, kind, *words, flush=True)


def properties_from(fields, packet_type):
    """The properties among a command's fields, or None where there are none."""
    found = [(key[5:], value) for key, value in fields if key.startswith("prop.")]
    if not found:
        return None
    properties = Properties(packet_type)
    for name, value in found:
        if name == "UserProperty":
            value = tuple(value.split("=", 1))
        elif name in BYTES:
            value = bytes.fromhex(value)
        elif name not in TEXT:
            value = int(value)
        setattr(properties, name, value)
    return properties


def fields_of(properties):
    """A packet's properties as fields of an event."""
    if properties is None:
        return []
    fields = []
    for name in Properties(PacketTypes.PUBLISH).names:
        name = name.replace(" ", "")
        if not hasattr(properties, name):
            continue
        value = getattr(properties, name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bytes):
                item = item.hex()
            elif isinstance(item, tuple):
                item = "=".join(item)
            fields.append((f"prop.{name}", item))
    return fields


class Peer:
    """One client: its commands are methods, its callbacks print events."""

    def __init__(self, name):
        self.name = name
        self.v5 = False
        self.unacknowledged = []
        self.aliases = {}

    def connect(self, fields):
        given = dict(fields)
        self.v5 = given["version"] == "5"
        clean = given["clean"] == "1"
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=given["id"],
            clean_session=None if self.v5 else clean,
            protocol=VERSIONS[given["version"]],
            reconnect_on_failure=False,
            manual_ack=given.get("manual_ack") == "1",
        )
        if "will_topic" in given:
            will = [(key[5:], value) for key, value in fields if key.startswith("will_prop.")]
            self.client.will_set(
                given["will_topic"],
                bytes.fromhex(given["will_payload"]),
                int(given["will_qos"]),
                given["will_retain"] == "1",
                properties_from(will, PacketTypes.WILLMESSAGE),
            )
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_unsubscribe = self.on_unsubscribe
        self.client.on_publish = self.on_publish
        self.client.on_message = self.on_message
        host = "127.0.0.1"
        if "ca" in given:
            self.client.tls_set(given["ca"], given.get("cert"), given.get("key"))
            host = "localhost"
        v5 = {"clean_start": clean, "properties": properties_from(fields, PacketTypes.CONNECT)}
        self.client.connect(host, int(given["port"]), 60, **(v5 if self.v5 else {}))
        self.client.loop_start()

    def subscribe(self, fields):
        given = dict(fields)
        if not self.v5:
            self.client.subscribe(given["filter"], int(given["qos"]))
            return
        options = SubscribeOptions(
            qos=int(given["qos"]),
            noLocal=given.get("no_local") == "1",
            retainAsPublished=given.get("retain_as_published") == "1",
            retainHandling=int(given.get("retain_handling", "0")),
        )
        properties = properties_from(fields, PacketTypes.SUBSCRIBE)
        self.client.subscribe(given["filter"], options=options, properties=properties)

    def unsubscribe(self, fields):
        self.client.unsubscribe(dict(fields)["filter"])

    def publish(self, fields):
        given = dict(fields)
        self.client.publish(
            given["topic"],
            bytes.fromhex(given["payload"]),
            int(given["qos"]),
            given["retain"] == "1",
            properties_from(fields, PacketTypes.PUBLISH),
        )

    def acknowledge(self, _fields):
        message = self.unacknowledged.pop(0)
        self.client.ack(message.mid, message.qos)

    def disconnect(self, fields):
        properties = properties_from(fields, PacketTypes.DISCONNECT)
        reason = ReasonCode(PacketTypes.DISCONNECT, identifier=int(dict(fields).get("reason", "0")))
        self.client.disconnect(reasoncode=reason if self.v5 else None, properties=properties)

    def drop(self, _fields):
        """Ends the Network Connection with no DISCONNECT."""
        self.client.socket().shutdown(socket.SHUT_RDWR)

    def on_connect(self, _client, _data, flags, reason, properties):
        fields = [("reason", reason.value), ("session_present", int(flags.session_present))]
        say(self.name, "connected", fields + fields_of(properties))

    def on_disconnect(self, _client, _data, flags, reason, properties):
        by_server = int(flags.is_disconnect_packet_from_server)
        fields = [("reason", reason.value), ("by_server", by_server)]
        say(self.name, "disconnected", fields + fields_of(properties))

    def on_subscribe(self, _client, _data, _mid, reasons, _properties):
        say(self.name, "subscribed", [("reason", reason.value) for reason in reasons])

    def on_unsubscribe(self, _client, _data, _mid, reasons, _properties):
        say(self.name, "unsubscribed", [("reason", reason.value) for reason in reasons])

    def on_publish(self, _client, _data, _mid, reason, _properties):
        say(self.name, "published", [("reason", reason.value)])

    def on_message(self, _client, _data, message):
        topic = message.topic
        alias = getattr(message.properties, "TopicAlias", None)
        if alias is not None and topic:
            self.aliases[alias] = topic
        elif alias is not None:
            topic = self.aliases.get(alias, "")
        if message.qos:
            self.unacknowledged.append(message)
        fields = [("topic", topic), ("payload", message.payload.hex()), ("qos", message.qos)]
        fields += [("retain", int(message.retain)), ("dup", int(message.dup))]
        say(self.name, "message", fields + fields_of(message.properties))


def main():
    peers = {}
    for line in sys.stdin:
        name, verb, *words = line.split()
        fields = [(key, unquote(value)) for key, value in (word.split("=", 1) for word in words)]
        if verb == "connect":
            peers[name] = Peer(name)
        try:
            getattr(peers[name], verb)(fields)
        except Exception as error:
            say(name, "error", [("text", f"{verb}: {type(error).__name__}: {error}")])


if __name__ == "__main__":
    main()
