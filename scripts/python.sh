#!/usr/bin/env bash
# A virtual environment in target/python with the packages of scripts/requirements.txt. Does
# nothing when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/python
wanted=scripts/requirements.txt
if cmp --silent "$wanted" "$target/requirements.txt"; then exit 0; fi
echo "deps: installing Python's packages into $target"
[ -x "$target/bin/python" ] || python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$target/requirements.txt"
