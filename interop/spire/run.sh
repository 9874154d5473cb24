#!/usr/bin/env bash
# run.sh: builds SPIRE's server and agent of the version below, once, and runs what is beside them.
# Needs Go 1.25 or later, a C compiler (for SQLite) and some 4 GB of disk; the first build takes a
# quarter of an hour on one core. SPIRE_PROGRAMS is a folder that has both programs already.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v1.13.3

programs=${SPIRE_PROGRAMS:-$PWD/target/spire/$version}
build() { # build PROGRAM
    [ -x "$programs/$1" ] && return
    command -v go >/dev/null || export PATH="$PATH:/usr/local/go/bin"
    # `go install` asks for a list of versions, which not every proxy has. In SPIRE's own module the
    # versions of all that it needs are those that it was released with.
    if [ ! -d target/spire/source ]; then
        folder=$(cd / && go mod download -json "github.com/spiffe/spire@$version" |
            sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        mkdir -p target/spire
        cp -r "$folder" target/spire/new
        chmod -R u+w target/spire/new
        mv target/spire/new target/spire/source
    fi
    mkdir -p "$programs"
    (cd target/spire/source && nice go build -buildvcs=false -o "$programs/$1" "./cmd/$1")
}
build spire-agent
build spire-server

cargo build --package zt-interop-spire --locked
"${CARGO_TARGET_DIR:-target}/debug/zt-interop-spire" "$programs"
