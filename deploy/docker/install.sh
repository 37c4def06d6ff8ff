#!/bin/sh
# Installs the gateway of a checkout into a folder, from requirements with hashes: what the image is made of.
#   install.sh CHECKOUT DESTINATION [EXTRA,EXTRA]
# An extra (objects, valkey, minilm, ...) is resolved when it is installed, since the lock covers what every gateway needs.
set -eu
checkout=$1 destination=$2 extras=${3:-}
python3 -m venv "$destination"
pip="$destination/bin/python -m pip --quiet --disable-pip-version-check --no-cache-dir"
$pip install --require-hashes -r "$checkout/requirements-build.txt" -r "$checkout/requirements.txt"
$pip install --no-deps --no-build-isolation "$checkout"
if [ -n "$extras" ]; then
  $pip install "routewright[$extras]"
fi
# What only building needs goes again; a gateway installs nothing while it runs.
$pip uninstall --yes hatchling editables pathspec pluggy trove-classifiers
"$destination/bin/routewright" --version
$pip uninstall --yes pip
