#!/bin/sh
# Installs MQTT clients written by others: tests/clients/install.sh TARGET. Does nothing when they are there.
set -eu
target=${1:?say where to install to}
paho=2.1.0
mqttjs=5.10.4

mkdir -p "$target"
if [ "$(cat "$target/paho.version" 2>/dev/null)" != "$paho" ]; then
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --target "$target/python" --upgrade "paho-mqtt==$paho"
    echo "$paho" >"$target/paho.version"
fi
if [ "$(cat "$target/mqttjs.version" 2>/dev/null)" != "$mqttjs" ]; then
    npm install --silent --no-audit --no-fund --no-save --prefix "$target" "mqtt@$mqttjs"
    echo "$mqttjs" >"$target/mqttjs.version"
fi
