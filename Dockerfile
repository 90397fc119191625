# autogaze on the CPU. The folder of your videos is mounted at /data, where the program runs:
#
#   docker build -t autogaze .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" autogaze mask clip.mp4 -o out
#
# On x86-64 the default package index serves PyTorch with its GPU libraries, some gigabytes that this
# image never uses. PyTorch's own index has CPU builds, whose versions end in "+cpu". pip considers
# them newer than the same version without it, and therefore prefers them if it sees both:
#
#   docker build -t autogaze --build-arg TORCH_INDEX=ADDRESS .
#
# By default it is empty, and only pip's configured index is used.

# Any Debian with Python 3.11 or later and its venv module.
ARG BASE=python:3.12-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
# The compiler builds the decoder's layers in C. Debian serves only the newest build of a package.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# PyTorch is installed before the sources are copied, so that changing them does not download it again.
COPY constraints.txt ./
ARG TORCH_INDEX=""
# hadolint ignore=DL3013
RUN pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} setuptools torch
COPY pyproject.toml README.md LICENSE ./
COPY autogaze_cli autogaze_cli
COPY commands commands
RUN pip install -c constraints.txt --no-build-isolation . \
 && { [ "$(uname -m)" != x86_64 ] || ls /venv/lib/python3*/site-packages/autogaze_cli/model/*.so; }

# hadolint ignore=DL3006
FROM ${BASE}
# The compiled layers need libgomp for their threads.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 autogaze \
 && install -d -o autogaze /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH
USER 1000
WORKDIR /data
ENTRYPOINT ["autogaze"]
CMD ["--help"]
