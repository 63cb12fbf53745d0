#!/usr/bin/env bash
# Installs what the hub needs from Debian and npm. Asks for nothing; does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'deps: %s\n' "$*"; }
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

command -v cargo >/dev/null || { say 'Rust is missing: install it (rustup), 1.95 or newer'; exit 1; }
rust=$(rustc --version | cut -d' ' -f2)
if older "$rust" 1.95.0; then say "Rust $rust is too old: 1.95 or newer is needed"; exit 1; fi
command -v node >/dev/null || { say 'Node is missing: install 20.19 or newer'; exit 1; }
node=$(node --version | tr -d v)
if older "$node" 20.19.0; then say "Node $node is too old: 20.19 or newer is needed"; exit 1; fi

packages=()
need() { # package, and how to see that it is there
  if ! eval "$2" >/dev/null 2>&1; then packages+=("$1"); fi
}
need build-essential 'command -v cc && command -v make'
need chromium 'command -v chromium'
need fonts-noto-cjk 'ls /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc'
need postgresql 'ls /usr/lib/postgresql/*/bin/initdb'
need curl 'command -v curl'
need mosquitto-clients 'command -v mosquitto_pub'
need python3-venv 'python3 -c "import ensurepip, venv"'
if [ ${#packages[@]} -gt 0 ]; then
  say "installing from Debian: ${packages[*]}"
  root=(); [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
else
  say 'Debian has given what is needed'
fi

# npm ci only when the lock file is newer than what it installed.
if [ ! -f web/node_modules/.installed ] || ! cmp -s web/package-lock.json web/node_modules/.installed; then
  say 'installing the packages of the pages (npm ci)'
  (cd web && npm ci --no-audit --no-fund --loglevel=error)
  cp web/package-lock.json web/node_modules/.installed
else
  say 'the packages of the pages are there'
fi

# Readers and clients of others' making, which the tests try on the hub.
scripts/python.sh
