# Sourced by check.sh: singularity.def built from the image's archive with a real Apptainer, and run as an ordinary user.
# Debian 12 has no Apptainer, so that of Debian's unstable release runs in a privileged container of its own.

APPTAINER_IMAGE=localhost/apptainer:check

apptainer_tool() {
  podman image exists $APPTAINER_IMAGE && return
  local mirror root=$WORK/sid
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -1)
  rm -rf "$root"
  debootstrap --variant=minbase --include=apptainer,squashfuse,fuse2fs,fuse-overlayfs sid "$root" "${mirror%/}" || return 1
  tar -C "$root" -c . | podman import - $APPTAINER_IMAGE || return 1
  rm -rf "$root"
}

as_root() {  # builds; --network=host is not needed: everything is in the archive
  podman run --rm --privileged --network=none --volume "$WORK:$WORK" --volume "$REPO:$REPO:ro" \
    --env APPTAINER_DROP_CAPS=CAP_SYS_RESOURCE --workdir "$WORK" $APPTAINER_IMAGE "$@"
}

as_user() {  # an ordinary user of a cluster, who has an entry in /etc/passwd and may open /dev/fuse
  podman run --rm --privileged --network=none --volume "$WORK:$WORK" --workdir "$WORK" $APPTAINER_IMAGE sh -c '
    chmod 666 /dev/fuse
    echo "hpc:x:'$USER_ID:$GROUP_ID'::/home/hpc:/bin/sh" >> /etc/passwd
    echo "hpc:x:'$GROUP_ID':" >> /etc/group
    mkdir -p /home/hpc && chown '$USER_ID:$GROUP_ID' /home/hpc
    exec setpriv --reuid='$USER_ID' --regid='$GROUP_ID' --clear-groups env HOME=/home/hpc USER=hpc "$@"' sh "$@"
}

build_sif() {
  rm -f mbseg-bids.tar  # of an interrupted run: podman adds to none
  podman save --format docker-archive --output mbseg-bids.tar $IMAGE || return 1
  sed "s|^From:.*|From: $WORK/mbseg-bids.tar|" "$REPO/singularity.def" > singularity.def
  as_root apptainer build --force mbseg-bids.sif singularity.def || return 1
  rm -f mbseg-bids.tar
}
sif() { as_user apptainer "$@"; }
sif_inspect() {
  sif inspect --labels mbseg-bids.sif | tee labels.txt
  grep -q 'org.opencontainers.image.version' labels.txt && sif run-help mbseg-bids.sif | grep -q apptainer
}
sif_participant() {
  fresh out-sif && fresh work-sif
  sif run --cleanenv --containall -B "$WORK/data/bids" -B "$WORK/out-sif" -B "$WORK/work-sif" mbseg-bids.sif \
    "$WORK/data/bids" "$WORK/out-sif" participant --participant-label sub-01 -w "$WORK/work-sif" --registration coarse
}
sif_group() {
  local steps=$WORK/work
  sif run --cleanenv --containall -B "$WORK/data/bids" -B "$WORK/out" -B "$steps" mbseg-bids.sif \
    "$WORK/data/bids" "$WORK/out" group -w "$steps/group"
}
sif_read_only() { sif exec --containall mbseg-bids.sif sh -c '! touch /opt/probe'; }
sif_fails() {
  fails_with 16 "" sif run --cleanenv --containall mbseg-bids.sif /nowhere /tmp/out participant
}
sif_dry_run() {
  sif run --cleanenv --containall -B "$WORK/data/bids" mbseg-bids.sif "$WORK/data/bids" /tmp/out participant --dry-run
}

check "Apptainer" apptainer_tool || return
check "singularity.def builds from the image's archive, with its %test" build_sif || return
du -m mbseg-bids.sif | awk '{ printf "     SIF size: %.2f GB\n", $1 / 1024 * 1.073741824 }'
check "labels and help" sif_inspect
check "apptainer run --app mbseg: weights" sif run --cleanenv --containall --app mbseg mbseg-bids.sif weights verify --self-test
check "participant level, dry run, as an ordinary user" sif_dry_run
check "participant level, as an ordinary user" sif_participant
check "the same images and tables as under Podman, to the byte" diff -rq out/sub-01 out-sif/sub-01
check "group level, as an ordinary user" sif_group
check "the image is read-only" sif_read_only
check "a wrong folder ends with 16 under Apptainer too" sif_fails
