#ifndef CLIBPQ_H
#define CLIBPQ_H

/* libpq, loaded when it is first needed: whoever keeps the record in a file pays nothing for it, and needs none. The calls
   that are used have their own names and forward to it; no other may be used. */

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>
#endif

/* Call before anything else: 0, or -1 when there is no libpq. */
int agent_load_libpq(void);

/* Macros of one character, which Swift does not import. */
static inline int agent_pg_diag_sqlstate(void) { return PG_DIAG_SQLSTATE; }
static inline int agent_pg_diag_message_primary(void) { return PG_DIAG_MESSAGE_PRIMARY; }

#endif
