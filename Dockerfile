# mbseg-bids and all it needs, for a run without a network, without root, and on a read-only file system.
#
#   docker build -t mbseg-bids .                        torch for NVIDIA GPUs and CPUs
#   docker build -t mbseg-bids:cpu --build-arg TORCH=cpu .      a third of the size, CPUs only
#
# docs/container.md has the rest. There is no USER line: a bound output folder belongs to somebody on the host, and
# `docker run -u $(id -u):$(id -g)` says who.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/mbseg
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# cuda: the build on PyPI, which also runs on CPUs. cpu: the one of TORCH_CPU_INDEX, or of your own pip.conf if that is empty.
ARG TORCH=cuda
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
# A private index or certificate comes as the build secrets pip_conf and ca_bundle; they stay in no layer.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle.crt \
    case "${TORCH}" in \
      cuda) index="" ;; \
      cpu) index="${TORCH_CPU_INDEX}" ;; \
      *) echo "TORCH is cuda or cpu, not ${TORCH}" >&2; exit 1 ;; \
    esac \
 && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/requirements.txt \
 && /opt/mbseg/bin/pip install --no-cache-dir --constraint constraints.txt \
      ${index:+--extra-index-url "${index}"} --requirement /tmp/requirements.txt \
 && if [ "${TORCH}" = cpu ]; then /opt/mbseg/bin/python -c 'import torch; assert torch.version.cuda is None, torch.__version__'; fi
COPY README.md LICENSE ./
COPY mbseg_bids ./mbseg_bids
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle.crt \
    /opt/mbseg/bin/pip install --no-cache-dir --no-deps . \
 && /opt/mbseg/bin/pip check \
 && /opt/mbseg/bin/pip uninstall --yes pip setuptools
# What no run reads: the libraries' own tests, and headers.
RUN find /opt/mbseg/lib -depth -type d \( -name tests -o -path '*/torch/test' -o -path '*/torch/include' \) -exec rm -rf {} +
# templateflow takes a folder with a file in it as complete, and fills an empty one with thousands of files at import.
# The template that the app uses comes with nilearn.
RUN mkdir /opt/templateflow \
 && echo 'No template is kept here: mbseg-bids uses the one that comes with nilearn.' > /opt/templateflow/README

FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt /opt
ARG VERSION=0.1.0
ENV PATH=/opt/mbseg/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    LC_ALL=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1 \
    NO_ET=1 \
    TEMPLATEFLOW_HOME=/opt/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    MBSEG_CONTAINER=docker:mbseg-bids:${VERSION}
# The image is what it says it is, and works: its version, its template, its weights (they pass their self-test).
RUN test "$(mbseg-bids --version)" = "mbseg-bids ${VERSION}" \
 && python3 -c 'from mbseg_bids.imaging.template import load_template; load_template()' \
 && mbseg weights verify --self-test
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mbseg-bids" \
      org.opencontainers.image.description="BIDS App that segments cerebral microbleeds on T1w / T2w / T2*-weighted MRI" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="docs/container.md of the source"
WORKDIR /tmp
ENTRYPOINT ["mbseg-bids"]
CMD ["--help"]
