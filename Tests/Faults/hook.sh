#!/usr/bin/env bash
# The hook of every scenario: bash hook.sh SECONDS [stubborn]. What it writes and why: trace.py.
# Each line is one write to a file opened for appending, so the order of lines is the order of events, over all hosts.
note() {
    read -r up _ </proc/uptime
    printf '%s\n' "$up $1 $FAULT_HOST $DEPLOY_HOOK $DEPLOY_COMMIT ${DEPLOY_FENCE:--} ${DEPLOY_RUN_UUID:--} $DEPLOY_RUN_ID $$" \
        >>"$FAULT_OUT/trace"
}

# Whatever this starts inherits the lock: it is free once the last process of this copy is gone, and not before.
# Without a fence a copy is one of its host's, and hosts do not wait for each other.
lock="$FAULT_OUT/$DEPLOY_HOOK.lock"
[ -n "${DEPLOY_FENCE:-}" ] || lock="$FAULT_OUT/$DEPLOY_HOOK.$FAULT_HOST.lock"
exec 9>>"$lock"
flock -n 9 || note overlap
note start
child=
if [ "${2:-}" = stubborn ]; then
    trap 'note term' TERM
    # One that only SIGKILL ends, in a session of its own; it has the lock, too.
    (trap '' TERM && exec setsid sleep infinity) &
    child=$!
else
    trap 'note term; exit 143' TERM
fi

read -r now _ </proc/uptime
now=${now/./}
# In hundredths of a second, as the kernel counts; 10# since 0.30 would be an octal number.
printf -v length '%.2f' "$1"
end=$((now + 10#${length/./}))
# It goes on while there is a file that holds it. Waits without starting a program each time: many hooks wait at once.
exec 8<> <(:)
while [ "$now" -lt "$end" ] || [ -e "$FAULT_OUT/hold/$DEPLOY_HOOK" ]; do
    read -rt 0.05 -u 8
    read -r now _ </proc/uptime
    now=${now/./}
done
if [ -n "$child" ]; then
    kill -KILL "$child"
    wait "$child" 2>/dev/null
fi
# A file that makes it fail is taken by the first that comes.
failure="$FAULT_OUT/fail/$DEPLOY_HOOK.$DEPLOY_COMMIT"
if [ -e "$failure" ] && mv "$failure" "$FAULT_OUT/taken.$$" 2>/dev/null; then
    note fail
    exit "$(cat "$FAULT_OUT/taken.$$")"
fi
note end
