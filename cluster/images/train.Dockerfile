# Training, and everything else that scenerec does, on GPUs and CPUs. From the repository's folder:
#   make wheel && docker build -f cluster/images/train.Dockerfile -t scenerec-train:0.1.0 .
# CUDA's libraries come with torch; the machine has NVIDIA's driver and its container toolkit.
FROM python:3.11.14-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN groupadd --gid 1000 ray && useradd --uid 1000 --gid ray --create-home --shell /bin/bash ray
# Each framework in a layer of its own, which are fetched side by side, and change with the versions alone.
RUN --mount=type=bind,source=constraints.txt,target=/build/constraints.txt \
    python -m venv /opt/scenerec && \
    /opt/scenerec/bin/pip install --no-cache-dir -c /build/constraints.txt torch torchvision
ENV PATH=/opt/scenerec/bin:$PATH RAY_USAGE_STATS_ENABLED=0 NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN --mount=type=bind,source=constraints.txt,target=/build/constraints.txt \
    pip install --no-cache-dir -c /build/constraints.txt tensorflow
RUN --mount=type=bind,source=constraints.txt,target=/build/constraints.txt \
    --mount=type=bind,source=pyproject.toml,target=/build/pyproject.toml \
    python -c 'import tomllib; project = tomllib.load(open("/build/pyproject.toml", "rb"))["project"]; \
      parts = [project["optional-dependencies"][part] for part in ("s3", "tflite", "cluster", "train", "serve")]; \
      print(*(line for part in (project["dependencies"], *parts) for line in part if line[:8] != "scenerec"), sep="\n")' \
      > /tmp/dependencies.txt && \
    pip install --no-cache-dir -c /build/constraints.txt -r /tmp/dependencies.txt && rm /tmp/dependencies.txt
RUN --mount=type=bind,source=dist,target=/build/dist pip install --no-cache-dir --no-deps /build/dist/scenerec-*.whl
USER 1000:1000
WORKDIR /home/ray
RUN scenerec cluster serve-env --folder /home/ray/proxy
LABEL org.opencontainers.image.title="scenerec-train" \
      org.opencontainers.image.description="scenerec with PyTorch and TensorFlow on Ray" \
      org.opencontainers.image.licenses="Apache-2.0"
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:52365/api/healthz', timeout=4)"]
CMD ["ray", "start", "--head", "--block"]
