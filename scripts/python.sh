#!/usr/bin/env bash
# Makes the Python that reads the table of observations in tests (crates/base/lake/tests/python):
# target/python. Does nothing when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/python
wanted=crates/base/lake/tests/python/requirements.txt
if cmp --silent "$wanted" "$target/requirements.txt"; then exit 0; fi
python3 -m venv "$target"
"$target/bin/pip" install --quiet --requirement "$wanted"
cp "$wanted" "$target/requirements.txt"
