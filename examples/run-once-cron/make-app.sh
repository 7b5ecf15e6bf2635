#!/usr/bin/env bash
# Makes the example's app: a bare repository with one commit, and a clone to commit from.
#   make-app.sh FOLDER   creates FOLDER/shop.git and FOLDER/shop-dev
set -euo pipefail
folder=$1

git init -q --bare --initial-branch=main "$folder/shop.git"
git init -q --initial-branch=main "$folder/shop-dev"
cd "$folder/shop-dev"
git config user.name "Example"
git config user.email "example@example.org"
git config commit.gpgsign false
git remote add origin "$folder/shop.git"

mkdir hooks
cat >appspec.yaml <<'YAML'
name: shop
envs:
  - key: PRE_DEPLOY_COMMAND
    value: bash hooks/build.sh
  - key: PRE_DEPLOY_TIMEOUT
    value: 1m
  - key: POST_DEPLOY_COMMAND
    value: bash hooks/announce.sh
YAML
cat >hooks/build.sh <<'HOOK'
#!/usr/bin/env bash
# Gates: a page without a title is not published.
set -euo pipefail
grep -q '<title>' page.html || { echo "page.html has no title"; exit 1; }
sed "s/@COMMIT@/$DEPLOY_COMMIT_SHORT/" page.html >index.html
echo "built index.html"
HOOK
cat >hooks/announce.sh <<'HOOK'
#!/usr/bin/env bash
set -euo pipefail
echo "$DEPLOY_COMMIT_SHORT is live, after ${DEPLOY_PREVIOUS_COMMIT:-nothing}"
HOOK
echo index.html >.gitignore
echo '<title>Shop</title> version 1, commit @COMMIT@' >page.html
git add .
git commit -q -m "The shop opens"
git push -q origin main
