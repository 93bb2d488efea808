# Edgewise in containers: one file for all images, for amd64 and arm64.
#
#   podman build --format docker --target model-server --tag localhost/edgewise-model-server:0.1.0 .
#   docker build --target model-server --tag localhost/edgewise-model-server:0.1.0 .
#
# `deploy/images/build` builds them all. Without `--format docker` podman leaves the health checks out, which the OCI format lacks.
#
# For each image: NAME-packages installs what it imports, and does so anew only when a list of requirements changes; `wheel`
# compiles the project; the last stages put both on the base image. Nothing that builds is in what results.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- The base of every image: Python, a user without rights, no installer.
# Python's official images come without byte code; Debian's own Python has it, and then nothing is copied.
FROM ${PYTHON_IMAGE} AS standard-library
COPY deploy/images/precompile.py /
RUN mkdir /compiled && python /precompile.py --root /compiled argparse asyncio concurrent.futures contextlib ctypes dataclasses \
        email.message email.parser encodings.idna hashlib hmac html http.client http.server importlib.metadata \
        importlib.resources inspect ipaddress json logging.handlers multiprocessing pathlib pickle queue random resource \
        secrets shutil socket ssl statistics subprocess tarfile tempfile threading tomllib typing unittest.mock \
        urllib.request uuid zipfile

FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 edgewise \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin edgewise \
 && rm -rf \
        /usr/bin/pip* /usr/local/bin/pip* /usr/share/python-wheels \
        /usr/lib/python3/dist-packages/pip* /usr/lib/python3/dist-packages/setuptools* /usr/lib/python3/dist-packages/wheel* \
        /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip \
        /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
        /usr/local/lib/python3*/site-packages/wheel* \
        /var/log/* /var/cache/ldconfig/*
COPY --from=standard-library /compiled /
# ONNX Runtime would report its use to its makers, and looks for a place to keep an identifier before it can be told not to.
ENV PATH=/opt/edgewise/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
USER 10001:10001
WORKDIR /
ENTRYPOINT ["edgewise"]

# ---- What builds; nothing of it is in an image but what it made.
FROM ${PYTHON_IMAGE} AS builder
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/constraints.txt
# The headers of Debian's own Python are a package; Python's official images hold theirs.
RUN apt-get update -qq \
 && headers=$(python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
 && apt-get install --yes -qq --no-install-recommends gcc libc6-dev $(test -f "$headers/Python.h" || echo python3-dev) \
 && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /constraints.txt

# ---- What each image imports, in a virtual environment without an installer.
FROM builder AS environment
RUN mkdir /models && python -m venv --without-pip /opt/edgewise && rm -f /opt/edgewise/bin/[Aa]ctivate*

FROM environment AS model-server-packages
COPY deploy/images/requirements/model-server.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/edgewise/bin/python install --no-compile --requirement /requirements/model-server.txt
COPY deploy/images/*.py deploy/images/*.txt /images/
RUN python /images/prune.py /opt/edgewise/lib/python3*/site-packages --debug-symbols /images/debug-symbols.txt \
        --unused /images/unused.txt --unused /images/unused-serving.txt \
 && /opt/edgewise/bin/python /images/precompile.py google.protobuf.any_pb2 google.protobuf.internal.builder \
        google.protobuf.json_format google.protobuf.reflection google.protobuf.runtime_version google.protobuf.text_format \
        google.protobuf.wrappers_pb2 httptools numpy numpy.typing onnxruntime orjson \
        PIL.Image PIL.ImageOps PIL.JpegImagePlugin PIL.PngImagePlugin PIL.WebPImagePlugin prometheus_client uvloop

FROM environment AS gateway-packages
COPY deploy/images/requirements/gateway.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/edgewise/bin/python install --no-compile --requirement /requirements/gateway.txt
COPY deploy/images/*.py deploy/images/*.txt /images/
RUN python /images/prune.py /opt/edgewise/lib/python3*/site-packages --debug-symbols /images/debug-symbols.txt --unused /images/unused.txt \
 && /opt/edgewise/bin/python /images/precompile.py google.protobuf.internal.builder google.protobuf.json_format \
        google.protobuf.reflection google.protobuf.runtime_version httptools orjson prometheus_client uvloop

FROM environment AS gateway-kubernetes-packages
COPY deploy/images/requirements/gateway.txt deploy/images/requirements/gateway-kubernetes.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/edgewise/bin/python install --no-compile --requirement /requirements/gateway-kubernetes.txt
COPY deploy/images/*.py deploy/images/*.txt /images/
RUN python /images/prune.py /opt/edgewise/lib/python3*/site-packages --debug-symbols /images/debug-symbols.txt --unused /images/unused.txt \
 && /opt/edgewise/bin/python /images/precompile.py google.protobuf.internal.builder google.protobuf.json_format \
        google.protobuf.reflection google.protobuf.runtime_version httptools kubernetes.client kubernetes.config \
        kubernetes.watch orjson prometheus_client uvloop

FROM environment AS agent-packages
COPY deploy/images/requirements/agent.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/edgewise/bin/python install --no-compile --requirement /requirements/agent.txt
COPY deploy/images/*.py deploy/images/*.txt /images/
RUN python /images/prune.py /opt/edgewise/lib/python3*/site-packages --debug-symbols /images/debug-symbols.txt --unused /images/unused.txt \
 && /opt/edgewise/bin/python /images/precompile.py kubernetes.client kubernetes.config kubernetes.dynamic \
        kubernetes.watch obstore oras.client oras.provider

FROM environment AS models-packages
COPY deploy/images/requirements/model-server.txt deploy/images/requirements/models.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/edgewise/bin/python install --no-compile --requirement /requirements/models.txt
COPY deploy/images/*.py deploy/images/*.txt /images/
RUN python /images/prune.py /opt/edgewise/lib/python3*/site-packages --debug-symbols /images/debug-symbols.txt --unused /images/unused.txt

# ---- The project as a wheel, its hot path compiled.
FROM builder AS wheel
COPY deploy/images/requirements/build.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /build && /build/bin/python -m pip install --requirement /requirements/build.txt
WORKDIR /source
COPY LICENSE README.md constraints.txt pyproject.toml hatch_build.py hot_path.py ./
COPY services services
# Compiled first by itself, since a wheel would come without machine code rather than fail.
RUN /build/bin/python -c 'import hot_path; hot_path.compiled()' \
 && /build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /build/bin/python -m zipfile --list /wheels/*.whl | grep -q _json_tensor

# As it lies in an image: /app is the root.
FROM environment AS app
COPY --from=wheel /wheels /wheels
# Studies are made where their scenarios are, and need packages that no image has.
RUN python -m pip --python /opt/edgewise/bin/python install --no-compile --no-deps --no-index --root /app /wheels/*.whl \
 && rm -r /app/opt/edgewise/lib/python3*/site-packages/edgewise/study \
 && python -m compileall -q --invalidation-mode unchecked-hash /app

# The same with the photographs that int8 is calibrated with, where a wheel would have them.
FROM app AS models-app
COPY examples/images /images
RUN mv /images /app/opt/edgewise/lib/python3*/site-packages/edgewise/model_server/building/

# ---- The images.
FROM runtime AS model-server
COPY --from=model-server-packages /opt/edgewise /opt/edgewise
COPY --from=app /app /
EXPOSE 8500 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["edgewise", "health", "http://127.0.0.1:8501"]
CMD ["serve", "--repository", "/models", "--host", "0.0.0.0"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="edgewise-model-server" \
      org.opencontainers.image.description="Serves models over REST and gRPC, in the cloud and at the edge." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS gateway
COPY --from=gateway-packages /opt/edgewise /opt/edgewise
COPY --from=app /app /
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["edgewise", "health", "http://127.0.0.1:8080"]
CMD ["gateway", "--config", "/etc/edgewise/gateway.toml", "--host", "0.0.0.0"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="edgewise-gateway" \
      org.opencontainers.image.description="One local endpoint in front of cloud and edge." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS gateway-kubernetes
COPY --from=gateway-kubernetes-packages /opt/edgewise /opt/edgewise
COPY --from=app /app /
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["edgewise", "health", "http://127.0.0.1:8080"]
CMD ["gateway", "--config", "/etc/edgewise/gateway.toml", "--host", "0.0.0.0"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="edgewise-gateway-kubernetes" \
      org.opencontainers.image.description="The gateway, with what finds sites in the Kubernetes API." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

# Runs one command and ends: there is nothing to check the health of.
FROM runtime AS agent
# A volume that is new takes this owner.
COPY --from=agent-packages --chown=10001:10001 /models /models
COPY --from=agent-packages /opt/edgewise /opt/edgewise
COPY --from=app /app /
CMD ["--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="edgewise-agent" \
      org.opencontainers.image.description="Fetches models, and installs Edgewise on a Kubernetes cluster." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

# Builds the example models, for the compose system and the tests; nothing else needs it.
FROM runtime AS models
COPY --from=models-packages --chown=10001:10001 /models /models
COPY --from=models-packages /opt/edgewise /opt/edgewise
COPY --from=models-app /app /
CMD ["models", "build", "pets", "/models"]
