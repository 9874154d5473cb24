#!/usr/bin/env bash
# run.sh SECONDS: runs each target for that long, from the seeds of the targets in ../../fuzz. It
# builds cedar-policy with sanitizers, which takes minutes, so the gate does not; the same
# comparisons run there as the tests of zt-differential.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?"run.sh SECONDS"}

../../fuzz/seed.sh
mkdir -p corpus/text corpus/json corpus/evaluator
cp ../../fuzz/corpus/cedar_text/* corpus/text/
cp ../../fuzz/corpus/cedar_json/* ../../fuzz/corpus/cedar_entities/* corpus/json/
export RUSTC_BOOTSTRAP=1 # sanitizers on the stable toolchain
cargo fuzz build
for target in $(cargo fuzz list); do
    echo "-- $target"
    cargo fuzz run "$target" -- -max_total_time="$seconds" -timeout=20 -verbosity=0
done
