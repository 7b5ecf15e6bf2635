#!/usr/bin/env bash
# Is everything there that this commit needs? Git, Swift, disk space, and a package file that parses.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    echo "validate: $*" >&2
    exit 1
}

command -v git >/dev/null || fail "git is not in PATH"
command -v swiftc >/dev/null || fail "swiftc is not in PATH; see https://www.swift.org/install/linux"

swift_text=$(swiftc --version 2>&1)
swift_version=$(sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' <<<"$swift_text" | head -n 1)
[ -n "$swift_version" ] || fail "swiftc does not say its version: $swift_text"
needed=${MIN_SWIFT:-6.2}
oldest=$(printf '%s\n%s\n' "$needed" "$swift_version" | sort -V | head -n 1)
[ "$oldest" = "$needed" ] || fail "Swift $swift_version is too old; $needed is needed"

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge "${MIN_FREE_MB:-256}" ] || fail "$free_mb MiB are free; ${MIN_FREE_MB:-256} are needed"

# Parses only: nothing is resolved, fetched or built.
swiftc -frontend -parse Package.swift || fail "Package.swift does not parse"

echo "git $(git --version | awk '{ print $3 }'), Swift $swift_version, $free_mb MiB free, Package.swift parses"
