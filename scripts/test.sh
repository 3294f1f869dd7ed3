#!/usr/bin/env bash
# Everything that must hold before a change lands, one step after the other, each with its time.
#
#   scripts/test.sh            all steps
#   scripts/test.sh fmt tidy   these only
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${FLEETWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fleetward}
export PATH="$PATH:$cache/tools/bin"
# Nothing is edited and built again here: neither incremental state nor debug information is worth its time.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=false CARGO_TERM_PROGRESS_WHEN=never
built=${CARGO_TARGET_DIR:-target}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

step_setup() { scripts/setup.sh test; }
step_fmt() { cargo fmt --all --check; }
step_deny() { cargo deny --log-level error check bans licenses sources; }
step_clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
step_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --keep-going; }
step_tidy() { cargo xtask tidy; }
step_generated() { cargo xtask limits --check && cargo xtask openapi --check; }
step_test() { cargo test --locked --workspace --no-fail-fast; }
# With the tests, so that the features and with them the libraries are those that the tests were built with.
step_programs() { cargo build --locked --workspace --bins --tests; }
# The story of `make demo` to its end; its report goes to the log.
step_demo() { "$built/debug/fleetward" demo --until-done; }
step_conformance() { FLEETWARD_BIN_DIR=$built/debug conformance/run; }
step_crash() {
  FLEETWARD_BIN_DIR=$built/debug conformance/kill9.py --rounds 5
  FLEETWARD_BIN_DIR=$built/debug conformance/kill9.py --rounds 4 --postgres
}

all=(setup fmt deny tidy clippy doc test generated programs demo conformance crash)
wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=("${all[@]}")

summary=()
failed=0
for name in "${wanted[@]}"; do
  declare -F "step_$name" >/dev/null || { printf 'no step %s; there are: %s\n' "$name" "${all[*]}" >&2; exit 2; }
  printf '\n== %s\n' "$name"
  begun=$SECONDS
  # In a shell of its own with -e, and logged, so that the counts can be added up below.
  if (set -e; "step_$name") 2>&1 | tee "$logs/$name"; then verdict=passed; else verdict=FAILED; failed=1; fi
  summary+=("$(printf '%-12s %-7s %4d s' "$name" "$verdict" $((SECONDS - begun)))")
  # Without these there is no point in going on.
  [ $verdict = passed ] || case "$name" in setup|programs) break ;; esac
done

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
if [ -s "$logs/test" ]; then
  awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
       END { printf "Rust tests: %d passed; %d failed; %d ignored\n", passed, failed, ignored }' "$logs/test"
fi
if [ -s "$logs/conformance" ]; then
  awk '$NF == "passed" { passed++ } $NF == "failed" { failed++ }
       END { printf "Foreign clients: %d passed; %d failed\n", passed, failed }' "$logs/conformance"
fi
exit $failed
