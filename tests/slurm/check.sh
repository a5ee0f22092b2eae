#!/usr/bin/env bash
# Runs the scripts of examples/slurm on a real SLURM: simulated participants as an array, one of them cancelled half-way,
# then the same command again. Nothing may be lost, nothing counted twice. Then nipype's own SLURM plugin.
#
#   sudo tests/slurm/check.sh               on Debian 12, or: make slurm-test
#
# The cluster is this machine alone; its daemons are started here and ended here. Settings, as environment variables:
#   WORK     folder for data, logs and the cluster's state          (mbseg-slurm in TMPDIR)
#   PYTHON   interpreter that has mbseg_bids and its tests' needs   (.venv/bin/python, else python3)
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
WORK=${WORK:-${TMPDIR:-/tmp}/mbseg-slurm}
PYTHON=${PYTHON:-$([ -x "$REPO/.venv/bin/python" ] && echo "$REPO/.venv/bin/python" || command -v python3)}
PARTICIPANTS=3 CANCELLED=2
export PYTHONPATH=$REPO:$REPO/tests NO_ET=1 LOGNAME=${LOGNAME:-$(id -un)}
[ "$(id -u)" = 0 ] || { echo "this needs root: it starts the daemons of SLURM" >&2; exit 2; }
. "$HERE/cluster.sh"
. "$HERE/../checks.sh"
CLUSTER_PIDS=()

tools() {
  local missing=() package
  for package in slurm-wlm munge; do dpkg -s "$package" > /dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=600 update
  apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${missing[@]}"
}
simulate() {  # thick slices and the T2*-weighted image alone: the shortest run there is
  "$PYTHON" -c 'from mbseg_bids.cli.workbench import main; raise SystemExit(main())' simulate bids \
    --participants $PARTICIPANTS --lesions 5 8 --geometry 0.9x0.9x5 --seed 5 || return 1
  find bids -name 'sub-*_T[12]w.*' -delete
}
submit() {
  MBSEG="$PYTHON -m mbseg_bids.cli.app" SBATCH_ARGS="--cpus-per-task=1 --mem=4G" \
    "$REPO/examples/slurm/submit.sh" bids derivatives work --registration coarse > submitted.txt || return 1
  cat submitted.txt
  ARRAY=$(sed -E 's/^array ([0-9]+).*/\1/' submitted.txt) GROUP=$(sed -E 's/.*group level ([0-9]+) .*/\1/' submitted.txt)
}
state() { scontrol show job "$1" | grep -o 'JobState=[A-Z_]*' | sort | uniq -c; }
task() { scontrol show job "${ARRAY}_$1" | grep -o 'JobState=[A-Z]*\|ExitCode=[0-9:]*' | head -2 | tr '\n' ' '; }
cancel_half_way() {  # the task is cancelled once its first long step is done
  local log=work/slurm/${ARRAY}_$CANCELLED.log
  until grep -q 'prepare_t2star done' "$log" 2> /dev/null; do
    [ $SECONDS -lt 3000 ] || return 1
    sleep 1
  done
  scancel "${ARRAY}_$CANCELLED"
  until task $CANCELLED | grep -q CANCELLED; do sleep 1; done
  cat "$log"
}
finished() { until state "$GROUP" | grep -q 'COMPLETED\|FAILED\|TIMEOUT'; do [ $SECONDS -lt 5000 ] || return 1; sleep 2; done; }
submit_and_cancel() { submit && cancel_half_way && finished; }
submit_again() { submit && finished; }
assert() { "$PYTHON" "$HERE/assertions.py" "$@"; }

mkdir -p "$WORK/logs" && cd "$WORK" || exit 2
rm -rf bids derivatives work fake
trap stop_cluster EXIT
check "tools" tools || exit 1
check "a cluster of one machine: $(slurmd -V 2> /dev/null || true)" start_cluster || exit 1
check "simulate $PARTICIPANTS participants, T2*-weighted images" simulate || exit 1
check "array of participants, task $CANCELLED cancelled half-way; group level after it" submit_and_cancel
for i in $(seq $PARTICIPANTS); do echo "     task $i: $(task "$i")"; done
check "the cancelled one is not done, the others are; the table says so" assert after_cancel derivatives "sub-0$CANCELLED"
tail -1 "work/slurm/${ARRAY}_$CANCELLED.log" | sed 's/^/     /'
cp -a derivatives before
check "the same command again" submit_again
for i in $(seq $PARTICIPANTS); do echo "     task $i: $(task "$i")$(tail -1 "work/slurm/${ARRAY}_$i.log")"; done
check "all are done, each once, and what was done is as it was" assert after_resubmission derivatives "sub-0$CANCELLED" before
cut -f1,3,4 derivatives/phenotype/microbleeds.tsv | sed 's/^/     /'
check "nipype's SLURM plugin: each step a job" "$PYTHON" "$HERE/nipype_plugin.py" fake "$REPO/examples/slurm/nipype_slurm.json"
rm -rf before
echo "$FAILED failed; $((SECONDS / 60)) min $((SECONDS % 60)) s"
[ $FAILED = 0 ]
