# The operator and the programs of its Jobs, in one image.
#
#   docker build --tag servicedb .
#
# A build without a network hands over a folder of wheels, and a base image that has the programs
# of the stage `runtime` already: --volume FOLDER:/wheels:ro --build-arg PIP_NO_INDEX=1
# --build-arg PIP_FIND_LINKS=/wheels --build-arg BASE_IMAGE=...
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS runtime
# pg_dump, pg_restore and psql of PostgreSQL 18, from PostgreSQL's own packages: Debian has older ones. zstd for archives.
RUN if ! command -v pg_dump || ! command -v zstd; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates postgresql-common zstd \
        && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
        && apt-get install --yes --no-install-recommends postgresql-client-18 \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# A name for the user: some programs refuse to run as a number that /etc/passwd does not know.
RUN printf 'servicedb:x:65532:65532::/tmp:/usr/sbin/nologin\n' >> /etc/passwd \
    && printf 'servicedb:x:65532:\n' >> /etc/group
ARG PIP_NO_INDEX=""
ARG PIP_FIND_LINKS=""
# Wheels only, so nothing is compiled here and nothing but the environment is left. The package
# itself gets a small layer of its own, which the .pth file puts on the path: a change of its
# sources rebuilds that layer alone.
COPY requirements.lock /opt/servicedb/
RUN python3 -m venv /opt/servicedb/venv \
    && /opt/servicedb/venv/bin/pip install --disable-pip-version-check --no-cache-dir \
        --require-hashes --only-binary=:all: --requirement /opt/servicedb/requirements.lock \
    && echo /opt/servicedb/package \
        > "$(/opt/servicedb/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/servicedb.pth"
# The root may be read-only: no bytecode is written, and home is where a pod has its scratch volume.
ENV PATH=/opt/servicedb/package/bin:/opt/servicedb/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp

FROM runtime AS package
ARG PIP_NO_INDEX=""
ARG PIP_FIND_LINKS=""
COPY pyproject.toml README.md LICENSE /build/
COPY operator /build/operator
RUN pip install --disable-pip-version-check --no-cache-dir --no-deps --target=/opt/servicedb/package /build

FROM runtime
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["servicedb"]
COPY --from=package /opt/servicedb/package /opt/servicedb/package
