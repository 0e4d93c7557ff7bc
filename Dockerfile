# docker build --build-arg MODEL=nlpconnect/vit-gpt2-image-captioning -t endpoint .
# docker run --gpus all --read-only --tmpfs /tmp -p 8000:8000 endpoint
# Without MODEL the image contains no weights: add -v models:/cache to keep those that
# it downloads. deploy/README.md explains the other build arguments.
# A tag can be moved to another image, and a digest cannot. This prints the present digest
# of the tag: docker buildx imagetools inspect python:3.14-slim
ARG BASE=python:3.14-slim@sha256:e11c17f46f87983eb946b121694dedba6290ee2b0dd5294d137d82943502d179

# Convert the lock files to requirements.txt, with the hash of each package.
FROM ${BASE} AS lock
ARG PIP_INDEX_URL
ARG PIP_CERT
RUN --mount=type=secret,id=ca \
    python3 -m venv /poetry \
    && /poetry/bin/pip install --no-cache-dir poetry==2.5.1 poetry-plugin-export==1.10.1
WORKDIR /lock
COPY pyproject.toml poetry.lock ./
COPY extras extras
ARG GROUP
# triton takes 1 GB. Only torch.compile uses it, and it needs gcc, which is not in the
# image.
RUN /poetry/bin/poetry export --only main --output all.txt \
    && if [ -n "${GROUP}" ]; then /poetry/bin/poetry --directory extras export \
    --only "${GROUP}" >> all.txt; fi \
    && awk '/^[^ ]/ {is_triton = /^triton==/} !is_triton' all.txt > requirements.txt

FROM ${BASE} AS packages
ARG PIP_INDEX_URL
ARG PIP_CERT
COPY --from=lock /lock/requirements.txt /
# Headers, static libraries and bitcode are deleted, because nothing compiles or links
# in the image. torch does not link cusolverMg. NVIDIA's libraries move to a layer of
# their own, which most updates do not change.
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /venv \
    && /venv/bin/pip install --no-deps --require-hashes -r /requirements.txt \
    && /venv/bin/pip uninstall --yes pip \
    && mv /venv/lib/python3*/site-packages/nvidia /nvidia \
    && ln -s /nvidia /venv/lib/python3*/site-packages/ \
    && rm -r /venv/lib/python3*/site-packages/torch/include \
        /venv/lib/python3*/site-packages/torch/bin/protoc* /nvidia/*/include \
        /nvidia/*/lib/*.a /nvidia/*/lib/*.bc /nvidia/*/lib/libcusolverMg.so*

FROM packages AS weights
ARG HF_ENDPOINT
ARG SSL_CERT_FILE
ARG MODEL
WORKDIR /app
COPY demo/model demo/model
COPY tools tools
COPY model_helpers model_helpers
COPY model_interface model_interface
COPY endpoint endpoint
RUN --mount=type=secret,id=ca --mount=type=secret,id=hf_token \
    --mount=type=cache,target=/hub \
    mkdir /model && if [ -n "${MODEL}" ]; then \
    HF_HOME=/hub HF_TOKEN_PATH=/run/secrets/hf_token \
    /venv/bin/flask --app endpoint bake --model "${MODEL}" /model; fi

FROM ${BASE}
RUN useradd --uid 10001 --home-dir /tmp --no-create-home endpoint \
    && install --directory --owner 10001 --group 10001 /cache
COPY --from=packages /nvidia /nvidia
COPY --from=packages /venv /venv
ARG MODEL
COPY --from=weights /model /model
WORKDIR /app
COPY demo/model demo/model
COPY french_bulldog.jpg gunicorn.conf.py ./
COPY deploy deploy
COPY tools tools
COPY vit_gpt2 vit_gpt2
COPY gunicorn_worker gunicorn_worker
COPY model_helpers model_helpers
COPY model_interface model_interface
COPY endpoint endpoint
# Compile here, because the image is read-only at run time.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash .
# ENDPOINT_DEVICE is not set, so that the image also runs on a machine without a GPU.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PORT=8000 \
    ENDPOINT_MODEL=${MODEL:+/model} HF_HOME=/cache \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG SOURCE
ARG REVISION
LABEL org.opencontainers.image.title="gpu-endpoint" \
    org.opencontainers.image.description="An image in, a caption out" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 8000
# Only 200 is healthy: 204 means that the model is still loading.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m CMD ["python", "-c", \
    "from os import environ; from urllib.request import urlopen; \
    raise SystemExit(urlopen(f'http://127.0.0.1:{environ[\"PORT\"]}/ping').status != 200)"]
CMD ["gunicorn"]
