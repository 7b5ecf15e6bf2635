#!/usr/bin/env bash
set -euo pipefail
echo "$DEPLOY_COMMIT_SHORT is live on ${NODE:-$HOSTNAME}"
