#!/usr/bin/env bash
# Installs the servers that the broker tests run against, where they are missing: PostgreSQL and Redis, from Debian.
# Does nothing where they are there. Needs root to install; without, it says what to install.
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "The broker tests need: ${missing[*]}. Install them with this system's package manager." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The broker tests need: ${missing[*]}. Install them with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The tests start servers of their own: nothing has to run besides.
RUNLEVEL=1 apt-get install -q -y --no-install-recommends "${missing[@]}"
