#!/bin/sh
# Installs clients written by others, of MQTT and of what pushes are sent with: tests/clients/install.sh TARGET. Does
# nothing when they are there.
set -eu
target=${1:?say where to install to}
mkdir -p "$target"

# NAME VERSION PACKAGE ...: packages for Python.
python() {
    name=$1 version=$2
    shift 2
    [ "$(cat "$target/$name.version" 2>/dev/null)" = "$version" ] && return
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --target "$target/python" --upgrade "$@"
    echo "$version" >"$target/$name.version"
}

# NAME VERSION PACKAGE DIRECTORY: a package for Node. npm removes from a directory what it wasn't asked for.
node() {
    [ "$(cat "$target/$1.version" 2>/dev/null)" = "$2" ] && return
    npm install --silent --no-audit --no-fund --no-save --prefix "$4" "$3@$2"
    echo "$2" >"$target/$1.version"
}

python paho 2.1.0 paho-mqtt==2.1.0
python push 1 pywebpush==2.5.0 google-api-python-client==2.202.0 google-auth==2.62.2 standardwebhooks==1.1.0
node mqttjs 5.10.4 mqtt "$target"
node apn 8.1.0 @parse/node-apn "$target/apn"
