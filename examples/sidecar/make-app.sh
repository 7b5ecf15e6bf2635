#!/usr/bin/env bash
# Makes the example's app: a bare repository with one commit, and a clone to commit from.
#   make-app.sh FOLDER   creates FOLDER/clock.git and FOLDER/clock-dev
#
# The app is a loop that writes what it runs to RUNNING once a second, and starts afresh when tmp/restart.txt changes.
set -euo pipefail
folder=$1

git init -q --bare --initial-branch=main "$folder/clock.git"
git init -q --initial-branch=main "$folder/clock-dev"
cd "$folder/clock-dev"
git config user.name "Example"
git config user.email "example@example.org"
git config commit.gpgsign false
git remote add origin "$folder/clock.git"

mkdir hooks
cat >appspec.yaml <<'YAML'
name: clock
envs:
  # In the staged checkout: a program that does not even parse never reaches the workspace.
  - key: PRE_DEPLOY_COMMAND
    value: bash -n app.sh
  # In the workspace, once it holds the commit: tells the app to start afresh.
  - key: POST_DEPLOY_COMMAND
    value: mkdir -p tmp && echo "$DEPLOY_COMMIT" >tmp/restart.txt
YAML
cat >app.sh <<'APP'
#!/usr/bin/env bash
# app.sh RUNNING: writes the version to the file RUNNING.
version=1
started_for=$(cat tmp/restart.txt 2>/dev/null)
while :; do
    echo "version $version" >"$1"
    [ "$(cat tmp/restart.txt 2>/dev/null)" = "$started_for" ] || exec bash app.sh "$1"
    sleep 0.2
done
APP
echo tmp/ >.gitignore
git add .
git commit -q -m "Version 1"
git push -q origin main
