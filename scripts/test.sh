#!/usr/bin/env bash
# All that CI runs. Prints the time of each stage; the first stage that fails ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TERM_COLOR=never
export ZHONGSHU_PYTHON=${ZHONGSHU_PYTHON:-$CARGO_TARGET_DIR/python/bin/python}

began=$SECONDS
times=()
stage() {
  local name=$1 start=$SECONDS; shift
  printf '\n=== %s\n' "$name"
  "$@"
  times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
}
report() {
  printf '\n=== stages\n'
  printf '%s\n' "${times[@]}"
  printf '%5d s  in all\n' $((SECONDS - began))
}
trap report EXIT

xtask() { cargo run --quiet --locked -p xtask -- "$@"; }

stage 'web: build, types' scripts/web.sh
stage 'web: tests' npm --prefix web run --silent test
stage 'format' cargo fmt --all --check
stage 'clippy' cargo clippy --workspace --all-targets --all-features --locked --quiet -- -D warnings
stage 'arrows' xtask arrows
stage 'rust: build' cargo test --workspace --all-features --locked --no-run --quiet
stage 'rust: tests on SQLite and PostgreSQL' xtask with-postgres cargo test --workspace --all-features --locked
stage 'hub and simulator' cargo build --locked --quiet -p zhongshu -p citysim
stage 'browser: tests on SQLite and PostgreSQL' xtask with-postgres node --test --test-concurrency=1 web/e2e/*.test.mjs
