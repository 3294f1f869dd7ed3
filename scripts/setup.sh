#!/usr/bin/env bash
# Installs what is missing on a Debian machine that has a Rust toolchain, and says what it does. Asks for nothing when
# all of it is there, so it may run each time.
#
#   scripts/setup.sh [build|test|bench]...     default: build
#
# Debian packages are installed with apt-get (through sudo when not root). Everything else goes to one cache folder,
# ${FLEETWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fleetward}, which may be deleted at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${FLEETWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fleetward}
cargo_deny=0.20.2

say() { printf 'setup: %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else
    say "run this as root, or install sudo: $*" >&2
    return 1
  fi
}

# debian PACKAGE...: installs those that are absent.
debian() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
}

# venv NAME REQUIREMENTS: a Python environment in the cache, made again when its list changes.
venv() {
  local folder="$cache/python/$1" list="$2" stamp
  stamp=$(sha256sum <"$list")
  [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ] && "$folder/bin/python" -c '' 2>/dev/null && return 0
  say "installing Python clients into $folder: $(grep -v '^#' "$list" | tr '\n' ' ')"
  rm -rf "$folder"
  mkdir -p "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --use-pep517 -r "$list"
  printf '%s\n' "$stamp" >"$folder/stamp"
}

# npm_clients: the packages of conformance/node in the cache, installed again when their lock changes.
npm_clients() {
  local folder="$cache/node" stamp
  stamp=$(sha256sum <conformance/node/package-lock.json)
  [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ] && return 0
  command -v npm >/dev/null || debian nodejs npm
  say "installing Node clients into $folder"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp conformance/node/package.json conformance/node/package-lock.json "$folder/"
  npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$folder"
  printf '%s\n' "$stamp" >"$folder/stamp"
}

# go_client: the program of conformance/go in the cache. The SDK that it uses takes minutes once, and is kept.
go_client() {
  command -v go >/dev/null || {
    say "there is no Go: conformance/run aws-go is skipped; install Go 1.24 or newer to have it"
    return 0
  }
  [ -x "$cache/go/awsgo" ] || say "building the client of conformance/go (a minute or two, once)"
  PYTHONPATH=conformance PYTHONDONTWRITEBYTECODE=1 FLEETWARD_CACHE=$cache python3 -c 'from fleet.go import build; build()'
}

for_build() {
  command -v cargo >/dev/null || {
    say "no Rust toolchain: install it from https://rustup.rs, then run this again" >&2
    exit 1
  }
  # A C compiler and make for SQLite, aws-lc and jemalloc, which are built from source.
  command -v cc >/dev/null && command -v make >/dev/null || debian build-essential
}

for_test() {
  for_build
  # Rust's own checkers, where the toolchain came without them.
  cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 || {
    say "adding clippy and rustfmt"
    rustup component add clippy rustfmt
  }
  # The other database, and the clients of others that the conformance scripts run.
  debian ca-certificates curl git openssl postgresql mosquitto mosquitto-clients strongswan-pki \
    libstrongswan-standard-plugins libstrongswan-extra-plugins certmonger golang-cfssl softhsm2 opensc swtpm swtpm-tools tpm2-tools
  command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || debian python3 python3-venv
  venv clients conformance/requirements.txt
  venv paho1 conformance/requirements-paho1.txt
  venv azure conformance/requirements-azure.txt
  venv async conformance/requirements-async.txt
  venv aws conformance/requirements-aws.txt
  npm_clients
  go_client
  if ! command -v cargo-deny >/dev/null && ! [ -x "$cache/tools/bin/cargo-deny" ]; then
    say "building cargo-deny $cargo_deny into $cache/tools (some minutes, once)"
    cargo install --quiet --locked --root "$cache/tools" "cargo-deny@$cargo_deny"
  fi
}

for_bench() {
  for_build
  debian mosquitto openssl postgresql
}

mkdir -p "$cache"
for part in "${@:-build}"; do
  case "$part" in
    build) for_build ;;
    test) for_test ;;
    bench) for_bench ;;
    *) say "unknown part: $part" >&2; exit 2 ;;
  esac
done
