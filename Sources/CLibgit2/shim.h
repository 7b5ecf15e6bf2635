#ifndef CLIBGIT2_SHIM_H
#define CLIBGIT2_SHIM_H

#include <git2.h>

/* git_libgit2_opts is variadic, which Swift does not import. */

/* The agent often runs as another user than the owner of a checkout; it only reads here. */
static inline int clibgit2_trust_any_owner(void) {
    return git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
}

/* Extensions that change nothing for a reader of refs, commits and trees. */
static inline int clibgit2_accept_extensions(void) {
    const char *names[] = {"worktreeconfig", "partialclone", "preciousobjects"};
    return git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, names, (size_t)3);
}

/* The user's and the system's configuration say nothing of refs, commits and trees, and need not be readable. */
static inline int clibgit2_ignore_outer_config(void) {
    int failed = 0;
    for (int level = GIT_CONFIG_LEVEL_PROGRAMDATA; level <= GIT_CONFIG_LEVEL_GLOBAL; level++)
        failed |= git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    return failed;
}

#endif
