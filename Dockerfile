# One image for every role: `serve` (the default), `worker`, `simchain`.
# It runs with a read-only root file system, given a volume at /data and a tmpfs at /tmp.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
# Locked by hash and wheels only: nothing is compiled, and nothing runs at installation that the lock does not name.
COPY requirements-production.lock ./
RUN python -m venv /opt/fillwright \
 && /opt/fillwright/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements-production.lock
COPY pyproject.toml LICENSE ./
COPY src ./src
# The build backend came with the lock; what only builds and installs stays behind.
RUN /opt/fillwright/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/fillwright/bin/pip uninstall --yes flit_core pip

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Fillwright" \
      org.opencontainers.image.description="A self-hosted order execution engine for Solana swaps" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/fillwright /opt/fillwright
# A number, so that Kubernetes can see that it is not root. A new volume at /data inherits the owner.
RUN install -d -o 10001 -g 10001 -m 700 /data
ENV PATH=/opt/fillwright/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FILLWRIGHT_HOST=0.0.0.0 \
    FILLWRIGHT_DATA=/data \
    FILLWRIGHT_LOG=json
USER 10001:10001
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
# Alive, not ready: restarting would not help against a database that is away. A worker needs PORT for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', 3000)}/livez\", timeout=4)"]
ENTRYPOINT ["fillwright"]
CMD ["serve"]
