# Two images out of one file:  docker build --target edge .   docker build --target cloud .
# Every package is installed by hash; the program runs as a user of its own; nothing of the build stays inside.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock ./
# The build backend comes from the lock as well, so that no step fetches what was not pinned.
RUN python -m venv /build \
    && awk '/^[a-z]/{keep = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/} keep' requirements.lock > build.lock \
    && /build/bin/pip install --require-hashes --no-deps -r build.lock
COPY pyproject.toml README.md ./
COPY forewarn forewarn
COPY models models
COPY edge edge
COPY cloud cloud
COPY configs configs
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM build AS edge-packages
COPY requirements-edge.lock ./
RUN python -m venv /opt/forewarn \
    && /opt/forewarn/bin/pip install --require-hashes -r requirements-edge.lock \
    && /opt/forewarn/bin/pip install --no-deps --no-index --find-links /wheels forewarn

FROM build AS cloud-packages
COPY requirements-cloud.lock ./
RUN python -m venv /opt/forewarn \
    && /opt/forewarn/bin/pip install --require-hashes -r requirements-cloud.lock \
    && /opt/forewarn/bin/pip install --no-deps --no-index --find-links /wheels forewarn

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --gid 10001 forewarn \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/forewarn --create-home forewarn
ENV PATH=/opt/forewarn/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/forewarn
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["forewarn"]

FROM runtime AS edge
COPY --from=edge-packages /opt/forewarn /opt/forewarn
VOLUME /var/lib/forewarn
CMD ["edge", "run", "--config", "/etc/forewarn/edge.yaml"]

FROM runtime AS cloud
COPY --from=cloud-packages /opt/forewarn /opt/forewarn
VOLUME /var/lib/forewarn
EXPOSE 8080
CMD ["cloud", "run", "--config", "/etc/forewarn/cloud.yaml"]
