#!/usr/bin/env bash
# One check with the settings of deploy.env beside this file. Its exit code is the agent's, but "busy" (75: the check
# before this one still works, or a hook asks to be tried again) is no reason for an alarm.
set -euo pipefail
set -a
# shellcheck source=/dev/null
. "$(dirname "$0")/deploy.env"
set +a

code=0
"${AGENT:-agent}" run-once "$@" || code=$?
if [ "$code" = 75 ]; then
    exit 0
fi
exit "$code"
