# Two images from one file: `processors`, which runs processors and APIs, and `operator`, which has what talks to
# Kubernetes as well.
#
#   docker build --target processors --tag orderflow:dev .
#   docker build --target operator --tag orderflow-operator:dev .
#
# BASE is any image with Python 3.11 or newer. Where packages come from stays with the environment: give PIP_INDEX_URL as
# a build argument and an authority of your own as the secret `certificates`.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
ARG PIP_INDEX_URL
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /source
COPY requirements.lock ./
# The installer is the one that the lock names.
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /tools \
    && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.txt \
    && /tools/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement uv.txt \
    && /tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/orderflow
COPY pyproject.toml ./

# What others have written is a layer of its own: it changes with the lock alone.
FROM tools AS libraries
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /tools/bin/uv pip install --quiet --python /opt/orderflow --compile-bytecode \
        ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} \
        --constraint requirements.lock --extra postgres --requirement pyproject.toml

FROM libraries AS operator-libraries
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /tools/bin/uv pip install --quiet --python /opt/orderflow --compile-bytecode \
        ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} \
        --constraint requirements.lock --extra postgres --extra operator --requirement pyproject.toml
# The Kubernetes client is generated and a third of everything. Its bytecode, without the descriptions, does what it does
# in a fifth of the place, and of the memory.
RUN cd /opt/orderflow/lib/python3*/site-packages/kubernetes \
    && find . -name __pycache__ -prune -exec rm -r {} + \
    && /opt/orderflow/bin/python -OO -m compileall -q -b . \
    && find . -name '*.py' -delete

FROM tools AS code
COPY README.md LICENSE ./
COPY processors processors
COPY operator operator
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    /tools/bin/uv pip install --quiet --python /opt/orderflow --compile-bytecode --target /app --no-deps \
        ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} --build-constraint requirements.lock .

FROM ${BASE} AS base
# Who has no name is nobody to some libraries.
RUN echo 'orderflow:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'orderflow:x:65532:' >> /etc/group
ENV PATH=/app/bin:/opt/orderflow/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
# By number: so Kubernetes can tell that it is not root.
USER 65532:65532

FROM base AS operator
COPY --from=operator-libraries /opt/orderflow /opt/orderflow
COPY --from=code /app /app
ENTRYPOINT ["python", "-m", "orderflow_operator"]

FROM code AS processors-code
RUN rm -r /app/orderflow_operator

FROM base AS processors
COPY --from=libraries /opt/orderflow /opt/orderflow
COPY --from=processors-code /app /app
ENTRYPOINT ["orderflow"]
