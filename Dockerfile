# The locked environment and the package, to run on a folder of the user's (docs/container.md).
# BASE may name any Debian or Ubuntu with Python 3.11 to 3.13.
ARG BASE=docker.io/library/debian:bookworm-20250520-slim
FROM $BASE

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git make python3-venv \
    && rm -rf /var/lib/apt/lists/*

COPY . /opt/replication
# An index that has torch's build without CUDA; empty for one with it.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN PIP_NO_CACHE_DIR=1 make -C /opt/replication env VENV=/opt/environment

ENV PATH=/opt/environment/bin:$PATH
# Not root; who runs it may be anybody.
USER 1000:1000
WORKDIR /work
CMD ["snakemake", "--snakefile", "/opt/replication/Snakefile", "--cores", "4", "--config", "model=miniature"]
