"""Plays the packet sequences of mosquitto's tests (test/broker/data): conformance_sequences.py DIR HOST:PORT

Each sends bytes and says what comes back, and whether the connection is then open. Where the specification leaves a
choice, ours is allowed: properties of CONNACK, PUBACK without the note that nobody subscribed, and which code of 0x80
and more a DISCONNECT has.
"""

import json
import pathlib
import socket
import sys

directory, (host, port) = pathlib.Path(sys.argv[1]), sys.argv[2].rsplit(":", 1)
CONNACK, PUBACK, PUBREC, DISCONNECT = 2, 4, 5, 14


class Fault(Exception):
    pass


class Line:
    """A connection, and what it has received and not yet looked at."""

    def __init__(self):
        self.socket = socket.create_connection((host, int(port)), timeout=2)
        self.received = b""

    def packet(self):
        """The next whole packet; none at the end."""
        while True:
            packet = whole(self.received)
            if packet:
                self.received = self.received[len(packet) :]
                return packet
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.received += data


def whole(data):
    length = 0
    for at in range(1, min(len(data), 5)):
        length |= (data[at] & 127) << (7 * (at - 1))
        if data[at] < 128:
            end = at + 1 + length
            return data[:end] if len(data) >= end else None
    return None


def fits(expected, found):
    if expected == found:
        return True
    if found is None or expected[0] != found[0]:
        return False
    kind = found[0] >> 4
    if kind == CONNACK and len(expected) > 4:
        return expected[2:4] == found[2:4] or expected[3] >= 0x80 <= found[3]
    if kind in (PUBACK, PUBREC) and len(expected) > 4 and expected[4] in (0, 0x10):
        return found[2:4] == expected[2:4] and len(found) == 4
    return kind == DISCONNECT and expected[2] >= 0x80 <= found[2]


def connect(name, version):
    body = b"\0\4MQTT" + bytes([version, 2, 0, 60]) + (b"\0" if version == 5 else b"")
    body += len(name).to_bytes(2, "big") + name.encode()
    assert len(body) < 128
    return bytes([0x10, len(body)]) + body


def publish(message):
    line = Line()
    line.socket.sendall(connect("helper", 4))
    line.packet()
    topic, payload, qos = message["topic"].encode(), message["payload"].encode(), message["qos"]
    body = len(topic).to_bytes(2, "big") + topic + (b"\0\1" if qos else b"") + payload
    line.socket.sendall(bytes([0x30 | qos << 1, len(body)]) + body)
    if qos:
        line.packet()
    if qos == 2:
        line.socket.sendall(b"\x62\2\0\1")
        line.packet()
    line.socket.sendall(b"\xe0\0")


def play(test, version):
    line = Line()
    if test.get("connect", True):
        line.socket.sendall(connect("sequence " + test["name"][:90], version))
        if (line.packet() or b"")[3:4] != b"\0":
            raise Fault("not let in")
    for message in test["msgs"]:
        if message["type"] == "publish":
            publish(message)
            continue
        payload = bytes.fromhex(message["payload"].replace(" ", ""))
        if message["type"] == "send":
            try:
                line.socket.sendall(payload)
            except ConnectionError:
                pass
        else:
            found = line.packet()
            if not fits(payload, found):
                raise Fault(f"{payload.hex()} expected, not {found and found.hex()}")
    if test.get("expect_disconnect", True):
        rest = line.packet()
        # Version 5 says why, also where the sequence doesn't mention it.
        if rest and rest[0] >> 4 == DISCONNECT:
            rest = line.packet()
        if rest is not None:
            raise Fault(f"still open: {rest.hex()}")
    else:
        line.socket.sendall(b"\xc0\0")
        pong = line.packet()
        if pong != b"\xd0\0":
            raise Fault(f"not open any more: {pong and pong.hex()}")


passed, faults, others = 0, 0, 0
for file in sorted(directory.glob("*.json")):
    for group in json.loads(file.read_text()):
        for test in [] if group.get("disable") else group["tests"]:
            version = test.get("ver", 4)
            if version == 3 or group["group"].startswith("v3.1 "):
                others += 1
                continue
            try:
                play(test, version)
                passed += 1
            except (Fault, socket.timeout) as fault:
                faults += 1
                print(f"{file.stem}: {group['group']} {test['name']}: {fault or 'nothing comes'}")
print(f"{passed} passed, {faults} failed, {others} of version 3.1 left out")
sys.exit(faults > 0)
