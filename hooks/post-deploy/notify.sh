#!/usr/bin/env bash
# Appends one line about this deployment to DEPLOY_NOTIFY_FILE (.agent/deployments.log in the workspace).
set -euo pipefail
cd "$(dirname "$0")/../.."

file=${DEPLOY_NOTIFY_FILE:-$DEPLOY_WORKSPACE/.agent/deployments.log}
mkdir -p "$(dirname "$file")"
lines=unknown
[ ! -e .agent/sources.tsv ] || lines=$(awk '{ sum += $3 } END { print sum + 0 }' .agent/sources.tsv)
printf '%s deployment=%s commit=%s previous=%s trigger=%s attempt=%s swift_lines=%s\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$DEPLOY_ID" "$DEPLOY_COMMIT_SHORT" "${DEPLOY_PREVIOUS_COMMIT:-none}" \
    "$DEPLOY_TRIGGER" "$DEPLOY_ATTEMPT" "$lines" >>"$file"
echo "noted in $file"
