# Serving on CPUs: no training framework in it. From the repository's folder:
#   make wheel && docker build -f cluster/images/serve.Dockerfile -t scenerec-serve:0.1.0 .
FROM python:3.11.14-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN groupadd --gid 1000 ray && useradd --uid 1000 --gid ray --create-home --shell /bin/bash ray
# A layer that changes with the versions alone, and a small one with scenerec.
RUN --mount=type=bind,source=constraints.txt,target=/build/constraints.txt \
    --mount=type=bind,source=cluster/images/serve.txt,target=/build/serve.txt \
    python -m venv /opt/scenerec && \
    /opt/scenerec/bin/pip install --no-cache-dir --only-binary :all: -c /build/constraints.txt -r /build/serve.txt
ENV PATH=/opt/scenerec/bin:$PATH RAY_USAGE_STATS_ENABLED=0
RUN --mount=type=bind,source=dist,target=/build/dist pip install --no-cache-dir --no-deps /build/dist/scenerec-*.whl
# By its number, which Kubernetes can tell from root's.
USER 1000:1000
WORKDIR /home/ray
# Its folder for the endpoint's proxy, as cluster/kuberay/common/node.env names it.
RUN scenerec cluster serve-env --folder /home/ray/proxy
LABEL org.opencontainers.image.title="scenerec-serve" \
      org.opencontainers.image.description="scenerec's inference endpoint on Ray Serve, for CPUs" \
      org.opencontainers.image.licenses="Apache-2.0"
# Whether Ray's node is well. Kubernetes asks by the probes of cluster/kuberay instead.
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:52365/api/healthz', timeout=4)"]
CMD ["ray", "start", "--head", "--block"]
