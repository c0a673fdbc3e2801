# The image of one member. Dependencies come as wheels whose hashes are in requirements.lock; nothing is compiled to
# machine code. What runs has neither pip nor a compiler, needs no shell, and writes to /data alone.
#
#   docker build --tag gossipkv:0.1.0 --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg CREATED="$(git log -1 --format=%cI)" .

ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /build
RUN ["python", "-m", "venv", "--without-pip", "/opt/gossipkv"]
COPY requirements.lock ./
RUN ["python", "-m", "pip", "--python", "/opt/gossipkv/bin/python", "install", "--no-cache-dir", "--no-compile", \
     "--only-binary", ":all:", "--require-hashes", "--requirement", "requirements.lock"]
# The build backend and what it is said to need there, by their hashes too. It stays behind in this stage.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { if (entry ~ /hatchling/) printf "%s", entry; entry = "" } { entry = entry $0 "\n" }' \
      requirements-dev.lock > requirements-build.lock \
 && python -m venv --without-pip /opt/build \
 && python -m pip --python /opt/build/bin/python install --no-cache-dir --require-hashes \
      --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY gossipkv gossipkv
RUN ["/opt/build/bin/python", "-m", "hatchling", "build", "--target", "wheel"]
RUN python -m pip --python /opt/gossipkv/bin/python install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl
# A read-only file system keeps no bytecode, so all of it is made here. It is never checked against the sources: their
# times are not the same after a copy.
RUN ["python", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/opt/gossipkv/lib"]

FROM python:${PYTHON_VERSION}-slim
# The standard library lacks its bytecode as well. The numeric owner of /data is who runs below.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(site|dist)-packages/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && python -c 'import ensurepip, pip, shutil; [shutil.rmtree(each.__path__[0]) for each in (ensurepip, pip)]' \
 && rm -rf /usr/local/bin/pip* /usr/bin/pip* /usr/local/lib/python3*/site-packages/pip-* \
 && install -d -o 65532 -g 65532 /data
COPY --from=build /opt/gossipkv /opt/gossipkv

ENV PATH=/opt/gossipkv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GOSSIPKV_DATA_DIR=/data \
    GOSSIPKV_GOSSIP_HOST=0.0.0.0 \
    GOSSIPKV_HTTP_HOST=0.0.0.0
WORKDIR /data
# Numbers, for Kubernetes cannot tell whether a name is root.
USER 65532:65532
EXPOSE 7080 7081
STOPSIGNAL SIGTERM
ENTRYPOINT ["gossipkv"]
CMD ["serve"]

ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="gossipkv" \
      org.opencontainers.image.description="A key-value store that replicates by gossip, one pod per replica" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
