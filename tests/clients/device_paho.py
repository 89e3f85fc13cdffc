"""A device on paho-mqtt, as its users would write it: device_paho.py HOST PORT VERSION DEVICE

Learns what it should be, reports it at every quality of service, and sends something that can't be applied.
Prints a line of JSON with what it saw.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

PATIENCE_S = 30


def main(host, port, version, device):
    desired = threading.Event()
    seen = {"acknowledged": {}}

    def on_connect(client, userdata, flags, reason_code, properties):
        seen["connected"] = not reason_code.is_failure
        client.subscribe(f"devices/{device}/desired", qos=1)

    def on_message(client, userdata, message):
        seen["desired"] = json.loads(message.payload)["desired"]
        desired.set()

    def on_publish(client, userdata, mid, reason_code, properties):
        reason = getattr(properties, "ReasonString", "") if properties else ""
        seen["acknowledged"][mid] = [reason_code.value, reason]

    protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol)
    client.username_pw_set(device, "any")
    client.on_connect, client.on_message, client.on_publish = on_connect, on_message, on_publish
    client.connect(host, port)
    client.loop_start()
    if not desired.wait(PATIENCE_S):
        sys.exit("desired never came")

    published = []
    for qos in (0, 1, 2):
        state = {**seen["desired"], f"qos{qos}": True}
        published.append(client.publish(f"devices/{device}/state", json.dumps(state), qos=qos))
    published.append(client.publish(f"devices/{device}/state", "not JSON", qos=1))
    for info in published:
        info.wait_for_publish(PATIENCE_S)
        if not info.is_published():
            sys.exit("a publish was not acknowledged")
    client.disconnect()
    client.loop_stop()
    seen["refused"] = seen.pop("acknowledged").get(published[-1].mid)
    print(json.dumps(seen))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
