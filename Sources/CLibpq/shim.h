#ifndef CLIBPQ_SHIM_H
#define CLIBPQ_SHIM_H

#include <libpq-fe.h>

/* Macros of one character, which Swift does not import. */
static inline int agent_pg_diag_sqlstate(void) { return PG_DIAG_SQLSTATE; }
static inline int agent_pg_diag_message_primary(void) { return PG_DIAG_MESSAGE_PRIMARY; }

#endif
