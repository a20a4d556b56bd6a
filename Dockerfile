# One recipe for two base images:
#
#   astro dev start                                       Astro Runtime, the default below
#   docker build \
#     --build-arg BASE_IMAGE=apache/airflow:3.3.2-python3.12 \
#     --build-arg IMAGE_USER=airflow .                    the official image
#
# Astro Runtime comes as X and as X-base. X carries ONBUILD steps that install packages.txt and
# requirements.txt and copy the project as soon as FROM names it. X-base carries none, and that is
# the one to use here, for three reasons: those steps refuse a requirements.txt that pins
# apache-airflow, which a lock does; they do not ask pip for hashes; and they would make the Astro
# image the product of steps that this file does not show and the official image does not have.
#
# `astro dev start` builds this file as it stands, mounts dags/, plugins/ and include/ over the
# copies in the image, and loads airflow_settings.yaml. The editable install below points at
# plugins/, so an edit is live after a restart, without a build. (Its --standalone mode reads the
# runtime's tag from a literal FROM line, so it does not work with this file: use `make demo`.)
ARG BASE_IMAGE=astrocrpublic.azurecr.io/runtime:3.3-8-python-3.12-base
FROM ${BASE_IMAGE}

# The user that the base image runs as: astro, or airflow in the official image.
ARG IMAGE_USER=astro
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR ${AIRFLOW_HOME}

# Debian packages, if packages.txt names any.
USER root
COPY packages.txt ./
# hadolint ignore=DL3008
RUN packages="$(sed 's/#.*//' packages.txt | xargs)" \
    && if [ -n "${packages}" ]; then \
        apt-get update \
        && echo "${packages}" | xargs apt-get install -y --no-install-recommends \
        && apt-get clean \
        && rm -rf /var/lib/apt/lists/*; \
    fi

# Python packages, as the image's user: the official image refuses pip as root. Before the project,
# so that a change of code does not install them again. On the official image pip may add that the
# SDKs of other clouds, which that image holds and this project does not use, asked for other
# versions: the locked ones are installed all the same.
USER ${IMAGE_USER}
COPY --chown=${IMAGE_USER}:0 requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

# The project; .dockerignore keeps tests and documents out. Installed so that Airflow finds the
# provider's entry point: no dependencies and no index, the lock has brought the build backend.
COPY --chown=${IMAGE_USER}:0 . ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

ENV AIRFLOW__CORE__LOAD_EXAMPLES=False
