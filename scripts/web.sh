#!/usr/bin/env bash
# Builds the pages, unless what is built is newer than all they are made of.
set -euo pipefail
cd "$(dirname "$0")/../web"
if [ -f dist/index.html ] && [ -z "$(find src public index.html package-lock.json vite.config.ts tsconfig*.json -newer dist/index.html -print -quit 2>/dev/null)" ]; then
  echo 'web: the pages are built'
else
  echo 'web: building the pages'
  npm run --silent build
fi
