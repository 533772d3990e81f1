#!/usr/bin/env bash
# Installs what the tests run against, where it is missing, from Debian: PostgreSQL and Redis; with the argument
# `cluster` what the tests on a cluster need as well. Does nothing where all is there. Needs root to install; without, it
# says what to install.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }

compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
need redis-server redis-server
if [ "${1:-}" = cluster ]; then
    need ip iproute2
    need openssl openssl
    need promtool prometheus
    # A node and the images for it: nobody else than root can have them.
    if [ "$(id -u)" -eq 0 ] && [ -z "${KUBECONFIG:-}" ]; then
        need containerd containerd
        need runc runc
        need nft nftables
        [ -e /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
    fi
    if [ "$(id -u)" -eq 0 ]; then
        need buildah buildah
        need debootstrap debootstrap
    fi
fi

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "The tests need: ${missing[*]}. Install them with this system's package manager." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The tests need: ${missing[*]}. Install them with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The tests start servers of their own: nothing has to run besides.
RUNLEVEL=1 apt-get install -q -y --no-install-recommends "${missing[@]}"
