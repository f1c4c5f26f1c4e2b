#!/usr/bin/env bash
# Prints the path of a CometBFT of the pinned version, building it once where Go is at hand; where
# it cannot be had, says so on stderr, prints nothing and does not fail the build.
set -uo pipefail

version=v0.39.4
cache="${ACCORD_CACHE:-$HOME/.cache/accord}/cometbft-$version"
binary="${ACCORD_COMETBFT:-$cache/cometbft}"

is_pinned() { [ -x "$1" ] && [ "v$("$1" version 2>/dev/null | sed 's/^v//; s/[+-].*//')" = "$version" ]; }

if is_pinned "$binary"; then
  echo "$binary"
  exit 0
fi
if [ -n "${ACCORD_COMETBFT:-}" ]; then
  echo "cometbft: ACCORD_COMETBFT is not CometBFT $version; tests that need it will be skipped" >&2
  exit 0
fi
go=$(command -v go || ls /usr/local/go/bin/go 2>/dev/null || true)
if [ -z "$go" ]; then
  echo "cometbft: no Go here and no binary; tests that need it will be skipped (install Go, or set ACCORD_COMETBFT to a CometBFT $version)" >&2
  exit 0
fi
echo "cometbft: building $version (once, about two minutes)" >&2
mkdir -p "$cache"
# Two set-ups at once build one binary: the second waits, then finds it.
exec 9>"$cache/lock"
flock 9 2>/dev/null || true
if ! is_pinned "$binary" &&
  ! CGO_ENABLED=0 GOBIN="$cache" GOFLAGS=-mod=mod "$go" install "github.com/cometbft/cometbft/cmd/cometbft@$version" >"$cache/build.log" 2>&1; then
  echo "cometbft: the build failed, see $cache/build.log; tests that need it will be skipped" >&2
  exit 0
fi
if is_pinned "$binary"; then
  echo "$binary"
else
  echo "cometbft: what was built is not $version; tests that need it will be skipped" >&2
fi
exit 0
