#!/usr/bin/env bash
# Measures the async stage beside Flink's: benches/flink/run.sh [ARGUMENTS of the program `flink`]. Needs Java 17's compiler, pip and unzip.
# The jars, some 200 MB, are kept under target/flink.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=2.3.0
jars=target/flink/$version
if [ ! -e "$jars/done" ]; then
    mkdir -p "$jars"
    pip download --no-deps --dest "$jars" "apache-flink-libraries==$version"
    unzip -q -j -o "$jars"/*.whl 'pyflink/lib/flink-dist-*.jar' 'pyflink/lib/log4j-*.jar' -d "$jars"
    rm "$jars"/*.whl
    touch "$jars/done"
fi
javac -d target/flink/classes -cp "$jars/*" benches/flink/AsyncWait.java
cargo run --profile bench -p peu-benches --bin flink -- --classpath "target/flink/classes:$jars/*" "$@"
