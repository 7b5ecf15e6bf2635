#!/usr/bin/env bash
# Makes the example's repositories: the app's and the hooks', each bare with a clone to commit from.
#   make-repositories.sh FOLDER   creates FOLDER/git/shop.git, FOLDER/git/hooks.git, FOLDER/shop-dev and FOLDER/hooks-dev
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1

make() { # NAME
    git init -q --bare --initial-branch=main "$folder/git/$1.git"
    git init -q --initial-branch=main "$folder/$1-dev"
    cd "$folder/$1-dev"
    git config user.name "Example"
    git config user.email "example@example.org"
    git config commit.gpgsign false
    git remote add origin "$folder/git/$1.git"
}

make shop
mkdir db
cp "$here/appspec.yaml" .
cat >db/migrate.sh <<'HOOK'
#!/usr/bin/env bash
# Runs for commits that change something below db; says what that is.
set -euo pipefail
while IFS= read -r file; do
    case $file in db/*.sql) echo "applying $file" ;; esac
done <"$DEPLOY_CHANGED_FILES"
HOOK
echo 'CREATE TABLE orders (id bigint PRIMARY KEY);' >db/0001_orders.sql
echo 'The shop, version 1' >page.html
git add .
git commit -q -m "The shop opens"
git push -q origin main

make hooks
mkdir deploy
cat >deploy/announce.sh <<'HOOK'
#!/usr/bin/env bash
# The working directory is the hooks' own checkout; the app's is $DEPLOY_CHECKOUT.
set -euo pipefail
echo "$DEPLOY_COMMIT_SHORT is live: $(cat "$DEPLOY_CHECKOUT/page.html")"
HOOK
git add .
git commit -q -m "Announce"
git push -q origin main
