#!/usr/bin/env bash
# Fuzzes the decoders with the stable toolchain: builds the targets of fuzz/ with coverage and libFuzzer, without sanitizers
# (which need nightly: `cargo +nightly fuzz run TARGET`), and runs one after the other.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]      default: 60 seconds each, all of them
#
# Inputs that were found go to fuzz/target/found/TARGET, those that fail to fuzz/artifacts. It stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-60}
shift || true
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*_.*\)"$/\1/p' Cargo.toml)
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-target}

coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
coverage+=' -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing'
# With a target, so that build scripts and macros are built without all that.
RUSTFLAGS="$coverage" CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo build --target "$host" $(printf -- '--bin %s ' "$@")

mkdir -p artifacts
for target in "$@"; do
  mkdir -p "target/found/$target"
  printf '%s: %d s\n' "$target" "$seconds"
  "$out/$host/debug/$target" "target/found/$target" "corpus/$target" -max_total_time="$seconds" -rss_limit_mb=1500 -timeout=10 \
    -artifact_prefix="artifacts/$target-" -print_final_stats=1 2>&1 | grep -E 'number_of_executed|panicked|ERROR|artifact' || true
  if compgen -G "artifacts/$target-*" >/dev/null; then exit 1; fi
done
