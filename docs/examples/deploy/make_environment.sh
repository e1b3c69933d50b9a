#!/bin/sh
# Makes .venv in the working folder from a lock file, without what no command needs: sh make_environment.sh LOCK
set -eu
python3 -m venv .venv
.venv/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps --require-hashes --requirement "$1"
cd .venv/lib/python3.*/site-packages
# Tests of the packages, headers, and Arrow's way over the network, which is loaded by nothing else.
find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
rm -rf pyarrow/include pyarrow/_flight* pyarrow/libarrow_flight* pyarrow/libarrow_python_flight*
# What installs packages is not needed where packages are installed.
rm -rf pip pip-*
