#!/usr/bin/env bash
# Finds a Chromium for the browser tests; installs Debian's where it may; never fails the build.
set -uo pipefail

for name in "${ACCORD_CHROMIUM:-}" chromium chromium-browser google-chrome; do
  if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then
    exit 0
  fi
done

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "browser: installing Chromium for the browser tests (once)"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq >/dev/null 2>&1 &&
    apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then
    exit 0
  fi
fi

echo "browser: no Chromium here; browser tests will be skipped (install one or set ACCORD_CHROMIUM)"
exit 0
