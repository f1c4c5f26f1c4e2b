#!/usr/bin/env bash
# Finds `ip` for the test that cuts the wires between nodes; installs Debian's where it may; never
# fails the build.
set -uo pipefail

if command -v ip >/dev/null 2>&1; then
  exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "wires: installing iproute2 for the partition test (once)"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq >/dev/null 2>&1 &&
    apt-get install -y -qq --no-install-recommends iproute2 >/dev/null 2>&1; then
    exit 0
  fi
fi

echo "wires: no \`ip\` here; the partition test will be skipped (install iproute2)"
exit 0
