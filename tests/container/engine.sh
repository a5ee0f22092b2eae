# Sourced by check.sh: podman with a storage of its own, and a Debian base image that no registry is needed for.
# Defines: install_tools, configure_engine, make_base, build_image; needs WORK and BASE_IMAGE.

install_tools() {  # PACKAGE...
  local missing=() package
  for package in "$@"; do dpkg -s "$package" > /dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get -o DPkg::Lock::Timeout=600 update
  apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${missing[@]}"
}

configure_engine() {
  # Limits no higher than this machine's own, and runc: both matter inside virtual machines and other containers.
  local files
  files=$(ulimit -Hn)
  [ "$files" != unlimited ] || files=1048576
  cat > "$WORK/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
  cat > "$WORK/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$WORK/storage"
runroot = "$WORK/run"
CONF
  export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf
}

make_base() {  # a plain Debian under the name that the Dockerfile asks for
  podman image exists "$BASE_IMAGE" && return
  local mirror root=$WORK/debian
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -1)
  mirror=${mirror%/}
  rm -rf "$root"
  debootstrap --variant=minbase bookworm "$root" "$mirror"
  printf 'deb %s bookworm main\n' "$mirror" > "$root/etc/apt/sources.list"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | podman import --change 'CMD ["bash"]' - "$BASE_IMAGE"
  rm -rf "$root"
}

build_image() {  # TAG: the Dockerfile of this checkout, with this machine's pip settings as secrets
  local tag=$1 options=() links revision
  links=$(pip config get global.find-links 2> /dev/null || true)
  mkdir -p "$WORK/secrets"
  cp /etc/ssl/certs/ca-certificates.crt "$WORK/secrets/ca_bundle.crt"
  {
    printf '[global]\ncert = /run/secrets/ca_bundle.crt\ntimeout = 180\n'
    [ -z "$links" ] || printf 'find-links = %s\n' "$links"
  } > "$WORK/secrets/pip.conf"
  [ -d "$links" ] && options+=(--volume "$links:$links:ro")
  # Where wheels of a CPU-only torch lie in a folder, the index on the internet is not asked.
  [ -d "$links" ] && [ -z "${TORCH_CPU_INDEX+set}" ] && TORCH_CPU_INDEX=
  [ -z "${TORCH_CPU_INDEX+set}" ] || options+=(--build-arg "TORCH_CPU_INDEX=$TORCH_CPU_INDEX")
  revision=$(git -C "$REPO" rev-parse --short HEAD 2> /dev/null || echo unknown)
  # shellcheck disable=SC2086
  podman build ${BUILD_OPTIONS:-} --network=host --pull=missing --format docker "${options[@]}" \
    --secret "id=pip_conf,src=$WORK/secrets/pip.conf" --secret "id=ca_bundle,src=$WORK/secrets/ca_bundle.crt" \
    --build-arg "BASE_IMAGE=$BASE_IMAGE" --build-arg "TORCH=$TORCH" --build-arg "REVISION=$revision" \
    --tag "$tag" --file "$REPO/Dockerfile" "$REPO"
}
