#!/bin/sh
# Installs Debian packages, as root or with sudo: tests/deps.sh PACKAGE...
set -eu
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "install by hand, as root: apt-get install $*" >&2; exit 1; }
    sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
case " $* " in
    *" postgresql "*)
        # Only the programs: no cluster that runs by itself and holds the port.
        $sudo apt-get install -y -qq --no-install-recommends postgresql-common
        $sudo sed -i "s/^#\?create_main_cluster.*/create_main_cluster = false/" /etc/postgresql-common/createcluster.conf
        ;;
esac
$sudo apt-get install -y -qq --no-install-recommends "$@"
