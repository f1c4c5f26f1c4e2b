#!/usr/bin/env bash
# Finds what the tests for aarch64 need: a C compiler, qemu for a program and for a machine, and a
# Debian kernel for that machine (fetched into a cache). Installs Debian's where it may; never fails
# the build.
set -uo pipefail

cache="${ACCORD_CACHE:-$HOME/.cache/accord}/arm64"
kernel="${ACCORD_ARM_KERNEL:-$cache/vmlinuz}"
packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user qemu-system-arm)

missing() {
  command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || echo aarch64-linux-gnu-gcc
  [ -e "$(aarch64-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null)" ] || echo "a C library for it"
  command -v qemu-aarch64 >/dev/null 2>&1 || echo qemu-aarch64
  command -v qemu-system-aarch64 >/dev/null 2>&1 || echo qemu-system-aarch64
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

# The kernel is unpacked, not installed, from lists of our own: this machine's packages stay as
# they are, and it learns of no other architecture.
fetch_kernel() (
  mkdir -p "$cache" || exit 1
  exec 9>"$cache/lock"
  flock 9 2>/dev/null || true
  [ -s "$kernel" ] && exit 0
  room=$(mktemp -d) || exit 1
  trap 'rm -rf "$room"' EXIT
  mkdir -p "$room/lists/partial" "$room/cache" && cd "$room" || exit 1
  own=$(dpkg --print-architecture)
  apt=(-qq -o "APT::Architectures::=$own" -o "APT::Architectures::=arm64"
    -o "Dir::State::lists=$room/lists" -o "Dir::Cache=$room/cache" -o "APT::Sandbox::User=root")
  apt-get "${apt[@]}" update || exit 1
  name=$(apt-cache "${apt[@]}" depends linux-image-arm64:arm64 | awk '/Depends:/ { print $2; exit }')
  [ -n "$name" ] && apt-get "${apt[@]}" download "$name" || exit 1
  dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*' || exit 1
  mv boot/vmlinuz-* "$cache/fresh" && mv "$cache/fresh" "$cache/vmlinuz"
)

if [ -n "$(missing)" ] && may_install; then
  echo "arm: installing a compiler and qemu for aarch64 (once)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null 2>&1 &&
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1
fi
if [ ! -s "$kernel" ] && [ -z "${ACCORD_ARM_KERNEL:-}" ] && may_install; then
  echo "arm: fetching Debian's kernel for arm64 (once)"
  fetch_kernel >/dev/null 2>&1
fi

lacking=$(missing)
[ -s "$kernel" ] || lacking+="${lacking:+$'\n'}a kernel for arm64"
if [ -n "$lacking" ]; then
  echo "arm: not here: ${lacking//$'\n'/, }; tests for aarch64 that need it will be skipped" \
    "(install ${packages[*]}; set ACCORD_ARM_KERNEL to a vmlinuz for arm64)"
fi
exit 0
