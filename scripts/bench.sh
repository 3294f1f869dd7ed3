#!/usr/bin/env bash
# Runs the benchmarks one after the other and prints one JSON line each; the lines are also kept in target/bench.
#
#   scripts/bench.sh [NAME]...     default: all
#
# The programs are those of target/release, or of ${FLEETWARD_BIN_DIR}.
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ ${#names[@]} -gt 0 ] || names=(idle connect enroll publish fanout shared resume storm shadow delta jobs revoke ocsp crl)
mkdir -p target/bench
# 15,000 connections and their clients need more than the usual number of open files.
ulimit -n "$(ulimit -Hn)"
for name in "${names[@]}"; do
  "${FLEETWARD_BIN_DIR:-target/release}/fleetward-sim" bench "$name" --json | tee "target/bench/$name.json"
done
