"""Plays a client for `dunlin conformance --client` with paho-mqtt.

Subscribes with QoS 2, publishes with each QoS twice, prints what arrives, and goes on with its
session whenever the connection is lost.

    dunlin conformance --client -- python paho_client.py {host} {port} {version} {client_id} {topic}
"""

import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, version, client_id, topic = sys.argv[1:6]
role = sys.argv[6] if len(sys.argv) > 6 else "both"
is_v5 = version == "5"


def on_connect(client, _userdata, _flags, reason_code, _properties):
    if reason_code != 0:
        print(f"refused: {reason_code}", file=sys.stderr)
        return
    if role != "pub":
        client.subscribe(topic, 2)


def on_message(_client, _userdata, message):
    print(message.topic, message.payload.decode(errors="replace"), flush=True)


arguments = {"client_id": client_id, "reconnect_on_failure": True}
if is_v5:
    arguments["protocol"] = mqtt.MQTTv5
else:
    arguments["protocol"] = mqtt.MQTTv311
    arguments["clean_session"] = client_id == ""
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **arguments)
client.on_connect = on_connect
client.on_message = on_message
client.reconnect_delay_set(min_delay=1, max_delay=1)
if is_v5:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 300
    properties.TopicAliasMaximum = 10
    properties.ReceiveMaximum = 20
    client.connect(host, int(port), 3, clean_start=client_id == "", properties=properties)
else:
    client.connect(host, int(port), 3)
client.loop_start()
if role != "sub":
    for number in range(2):
        for qos in range(3):
            client.publish(topic + "/own", f"number {number} with QoS {qos}", qos)
# Ended by whoever started it.
time.sleep(60)
