#!/usr/bin/env bash
# compare_outputs.sh DERIVATIVES: does a run of both levels on one simulated participant leave the expected files, no more
# and no fewer? The names of a run's own logs hold its time, which is replaced.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
find . -type f | sed -E 's|^\./||; s|^(logs/run)-[0-9TZ]+-[0-9a-f]{4}|\1-TIME|' | LC_ALL=C sort \
  | diff "$here/expected_outputs.txt" -
