#!/bin/sh
# Runs a conformance suite that others wrote against `statecast serve --dev`: tests/conformance.sh SUITE PATH [ARGS]
# It fetches and builds nothing: PATH is where you have the suite; see conformance.md for which, and what was found.
#   paho                PATH: a checkout of eclipse-paho/paho.mqtt.testing; ARGS: names of cases
#   mosquitto           PATH: a checkout of eclipse-mosquitto/mosquitto, of which the packet sequences are played
#   mqtt5-conformance   PATH: the program of LabOverWire/mqtt-lib
#   testmqtt            PATH: the program of bromq-dev/testmqtt; ARGS: what follows `conformance`
#   gomqtt              PATH: the compiled tests of 256dpi/gomqtt/spec, reading the address from MQTT_URL
set -eu
cd "$(dirname "$0")/.."
suite=$1
path=$(realpath "$2")
shift 2
statecast=${STATECAST:-target/release/statecast}

data=$(mktemp -d)
chmod 755 "$data"
# One suite wants to see a keep-alive of ours, and asks for 120 s.
STATECAST__MQTT__KEEP_ALIVE_S_MAX=60 "$statecast" serve --dev --mqtt 127.0.0.1:0 --http 127.0.0.1:0 --data-dir "$data/data" \
  >"$data/out" 2>"$data/log" </dev/null &
server=$!
proxy=
trap 'kill $server $proxy; wait $server || true; rm -rf "$data"' EXIT
until grep -q '^ready ' "$data/out"; do
  kill -0 $server || { cat "$data/log"; exit 1; }
  sleep 0.2
done
mqtt=$(sed -n 's/^ready .*mqtt=\([^ ]*\).*/\1/p' "$data/out")
http=$(sed -n 's/^ready .*http=\([^ ]*\).*/\1/p' "$data/out")

case $suite in
paho)
  for version in client_test client_test5; do
    PYTHONPATH=$path/interoperability python3 tests/conformance_paho.py $version "${mqtt##*:}" "$@" || failed=1
  done
  ;;
mosquitto)
  python3 tests/conformance_sequences.py "$path/test/broker/data" "$mqtt" || failed=1
  ;;
mqtt5-conformance)
  # Its client notes which answer it waits for after it has asked: a broker that answers at once is too fast for it.
  python3 tests/conformance_delay.py "$mqtt" >"$data/proxy" &
  proxy=$!
  until [ -s "$data/proxy" ]; do sleep 0.2; done
  cat >"$data/sut.toml" <<END
name = "statecast"
address = "mqtt://$(cat "$data/proxy")"
ws_address = "ws://$http/mqtt"
[capabilities]
topic_alias_maximum = 16
server_receive_maximum = 100
maximum_packet_size = 262144
max_subscriptions_per_client = 50
[capabilities.transports]
tcp = true
websocket = true
END
  "$path" --sut "$data/sut.toml" "$@" || failed=1
  ;;
testmqtt)
  for version in 3 5; do
    "$path" conformance --version $version --broker "tcp://$mqtt" --verbose "$@" || failed=1
  done
  ;;
gomqtt)
  MQTT_URL=tcp://$mqtt "$path" -test.v "$@" || failed=1
  ;;
*)
  echo "unknown suite: $suite"
  failed=1
  ;;
esac
exit ${failed:-0}
