FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="Leadwise" \
      org.opencontainers.image.description="24 diagnoses from 12-lead ECGs (PhysioNet/CinC Challenge 2020)" \
      org.opencontainers.image.licenses="BSD-2-Clause"

# No wheel stays in the image twice; nothing is written where the root is read-only or the user has no home folder.
ENV PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib

# These three lines are the organisers'.
RUN mkdir /physionet
COPY ./ /physionet
WORKDIR /physionet

# Wheels alone: apt has nothing to add and nothing is compiled.
RUN pip install -r requirements.txt
