#!/usr/bin/env bash
# Finds a C compiler for ARM and qemu's user mode for the test that the kernel gives the same answers
# there; installs Debian's where it may; never fails the build.
set -uo pipefail

missing() {
  command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || echo aarch64-linux-gnu-gcc
  [ -e "$(aarch64-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null)" ] || echo "a C library for it"
  command -v qemu-aarch64 >/dev/null 2>&1 || echo qemu-aarch64
}

if [ -z "$(missing)" ]; then
  exit 0
fi

packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "arm: installing a compiler and qemu for aarch64 (once)"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086  (three words)
  if apt-get update -qq >/dev/null 2>&1 &&
    apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1; then
    exit 0
  fi
fi

echo "arm: no $(missing | paste -sd, | sed 's/,/, /g') here; the kernel's tests for aarch64 will be" \
  "skipped (install $packages)"
exit 0
