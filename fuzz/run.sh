#!/usr/bin/env bash
# run.sh SECONDS: seeds every target and runs each for that long. Stops at the first finding, which
# is then in artifacts/<target>/.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?"run.sh SECONDS"}

./seed.sh
export RUSTC_BOOTSTRAP=1 # sanitizers on the stable toolchain
cargo fuzz build
for target in $(cargo fuzz list); do
    echo "-- $target"
    cargo fuzz run "$target" -- -max_total_time="$seconds" -timeout=10 -verbosity=0
done
