#!/usr/bin/env bash
# submit.sh BIDS_DIR OUTPUT_DIR WORK_DIR [OPTION ...]: one array task for each participant, then the group level.
#
# Give the same command again after a failure, a time limit or scancel: participants that are done are passed over in
# seconds, others go on from their work folder. OPTIONs go to the participant level (such as -d fmriprep=/data/fmriprep).
#
# Settings, as environment variables:
#   MBSEG        how to call the app, with every folder bound (default: Apptainer with the mbseg-bids.sif beside this file)
#   AT_ONCE      tasks that run at the same time (default: 50)
#   SBATCH_ARGS  options of sbatch for the array, such as "--partition=gpu --gres=gpu:1"; they win over participant.sbatch
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
bids=$(realpath "$1") output=$(realpath -m "$2") work=$(realpath -m "$3")
shift 3
mkdir -p "$output" "$work/slurm"

participants=$work/slurm/participants.txt
(cd "$bids" && find . -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sort) > "$participants"
n=$(wc -l < "$participants")
[ "$n" -gt 0 ] || { echo "no sub-* folder in $bids" >&2; exit 16; }

export MBSEG=${MBSEG:-"apptainer run --nv --cleanenv --containall -B $bids -B $output -B $work $here/mbseg-bids.sif"}
# shellcheck disable=SC2086
array=$(sbatch --parsable --array="1-$n%${AT_ONCE:-50}" --output="$work/slurm/%A_%a.log" ${SBATCH_ARGS:-} \
  "$here/participant.sbatch" "$bids" "$output" "$work" "$@")
group=$(sbatch --parsable --dependency="afterany:$array" --output="$work/slurm/group_%j.log" \
  "$here/group.sbatch" "$bids" "$output" "$work")
echo "array $array: $n participants; group level $group after it; logs in $work/slurm"
