# Sourced by tests/container/check.sh and tests/slurm/check.sh: needs $WORK, with a folder logs, and counts in $FAILED.
# shellcheck shell=bash
FAILED=0

check() {  # WHAT COMMAND...
  local what=$1 start=$SECONDS log
  shift
  log=$WORK/logs/$(tr -c 'A-Za-z0-9\n' _ <<< "$what").log
  if "$@" > "$log" 2>&1; then
    echo "OK   $what ($((SECONDS - start)) s)"
  else
    echo "FAIL $what ($((SECONDS - start)) s), see $log"
    tail -5 "$log" | sed 's/^/     | /'
    FAILED=$((FAILED + 1))
    return 1
  fi
}
