#!/usr/bin/env bash
# Builds the four programs for use and puts them into target/release. The agent is built small, and fully static where the
# toolchain has the musl target.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/release
built=${CARGO_TARGET_DIR:-target}

cargo build --release --locked -p fleetward-server -p fleetward-ctl -p fleetward-sim

musl=$(uname -m)-unknown-linux-musl
agent=$built/agent/fleetward-agent
if [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ] && command -v musl-gcc >/dev/null; then
  cargo build --profile agent --locked -p fleetward-agent --target "$musl"
  agent=$built/$musl/agent/fleetward-agent
else
  cargo build --profile agent --locked -p fleetward-agent
fi

mkdir -p "$out"
install_built() { [ "$1" -ef "$out/${1##*/}" ] || install -m 755 "$1" "$out/"; }
for program in fleetward wardctl fleetward-sim; do install_built "$built/release/$program"; done
install_built "$agent"

limit=$((12 * 1024 * 1024))
size=$(stat -c %s "$out/fleetward-agent")
[ "$size" -le "$limit" ] || { printf 'fleetward-agent has %s bytes, %s at most\n' "$size" "$limit" >&2; exit 1; }
printf 'built:\n'
for program in fleetward wardctl fleetward-sim fleetward-agent; do
  printf '  %s/%s  %s KiB\n' "$out" "$program" "$(($(stat -c %s "$out/$program") / 1024))"
done
