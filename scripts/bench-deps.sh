#!/usr/bin/env bash
# Installs the peers of the benches: brokers and databases from Debian, readers of the lake from
# PyPI into a virtual environment. Starts none of them; does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bench-deps: %s\n' "$*"; }

# --- Debian -------------------------------------------------------------------------------------
packages=()
need() { # package, and how to see that it is there
  if ! eval "$2" >/dev/null 2>&1; then packages+=("$1"); fi
}
need mosquitto 'command -v mosquitto || test -x /usr/sbin/mosquitto'
need mosquitto-clients 'command -v mosquitto_pub'
need victoria-metrics 'command -v victoria-metrics'
need influxdb 'command -v influxd'
need python3-venv 'python3 -c "import ensurepip, venv"'

policy=/usr/sbin/policy-rc.d
placed=
tidy() { if [ -n "$placed" ]; then "${root[@]}" rm -f "$policy"; fi; }
root=(); [ "$(id -u)" = 0 ] || root=(sudo)
if [ ${#packages[@]} -gt 0 ]; then
  say "installing from Debian: ${packages[*]}"
  # Debian starts what it installs; this says no, for as long as the installing takes.
  if [ ! -e "$policy" ]; then
    placed=yes
    trap tidy EXIT
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
  fi
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
  # Nor are they to run after the next boot.
  for service in mosquitto victoria-metrics influxdb; do
    if [[ " ${packages[*]} " == *" $service "* ]] && command -v systemctl >/dev/null; then
      "${root[@]}" systemctl --quiet disable "$service" || true
    fi
  done
else
  say 'Debian has given what is needed'
fi

scripts/python.sh
