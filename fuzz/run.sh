#!/usr/bin/env bash
# run.sh SECONDS: seeds every target and runs each for that long, as many at once as there are
# processors. Fails on a finding, which is then in artifacts/<target>/.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?"run.sh SECONDS"}

./seed.sh
export RUSTC_BOOTSTRAP=1 # sanitizers on the stable toolchain
cargo fuzz build
cargo fuzz list | xargs --verbose -P "$(nproc)" -I TARGET \
    cargo fuzz run TARGET -- -max_total_time="$seconds" -timeout=10 -verbosity=0
