#!/usr/bin/env bash
# Writes .agent/sources.tsv: files and lines of each target. POST_DEPLOY reads it instead of counting again.
#
# With a remote this runs in the staged checkout, and the file is published with the commit.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p .agent
new=$(mktemp .agent/sources.XXXXXX)
trap 'rm -f "$new"' EXIT
for target in Sources/*/; do
    find "$target" -name '*.swift' -exec cat {} + |
        wc -l |
        awk -v target="$(basename "$target")" -v files="$(find "$target" -name '*.swift' | wc -l)" \
            '{ printf "%s\t%d\t%d\n", target, files, $1 }'
done >"$new"
# One rename: whoever reads sees the old file or the new one.
chmod 644 "$new"
mv "$new" .agent/sources.tsv
echo "counted $(wc -l <.agent/sources.tsv) targets"
