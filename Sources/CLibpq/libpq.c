#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

/* Hidden: libpq's own calls of its functions must not end up here. The system's headers came before: what they declare is
   elsewhere. */
#pragma GCC visibility push(hidden)
#include "CLibpq.h"

#define CALLS(CALL)                                                                                                    \
    CALL(int, PQbackendPID, (const PGconn *a), (a))                                                                    \
    CALL(int, PQcancel, (PGcancel * a, char *b, int c), (a, b, c))                                                     \
    CALL(void, PQclear, (PGresult * a), (a))                                                                           \
    CALL(char *, PQcmdTuples, (PGresult * a), (a))                                                                     \
    CALL(PostgresPollingStatusType, PQconnectPoll, (PGconn * a), (a))                                                  \
    CALL(PGconn *, PQconnectStartParams, (const char *const *a, const char *const *b, int c), (a, b, c))               \
    CALL(void, PQconninfoFree, (PQconninfoOption * a), (a))                                                            \
    CALL(PQconninfoOption *, PQconninfoParse, (const char *a, char **b), (a, b))                                       \
    CALL(int, PQconsumeInput, (PGconn * a), (a))                                                                       \
    CALL(char *, PQerrorMessage, (const PGconn *a), (a))                                                               \
    CALL(void, PQfinish, (PGconn * a), (a))                                                                            \
    CALL(int, PQflush, (PGconn * a), (a))                                                                              \
    CALL(void, PQfreeCancel, (PGcancel * a), (a))                                                                      \
    CALL(void, PQfreemem, (void *a), (a))                                                                              \
    CALL(PGcancel *, PQgetCancel, (PGconn * a), (a))                                                                   \
    CALL(PGresult *, PQgetResult, (PGconn * a), (a))                                                                   \
    CALL(int, PQgetisnull, (const PGresult *a, int b, int c), (a, b, c))                                               \
    CALL(int, PQgetlength, (const PGresult *a, int b, int c), (a, b, c))                                               \
    CALL(char *, PQgetvalue, (const PGresult *a, int b, int c), (a, b, c))                                             \
    CALL(int, PQisBusy, (PGconn * a), (a))                                                                             \
    CALL(int, PQnfields, (const PGresult *a), (a))                                                                     \
    CALL(PGnotify *, PQnotifies, (PGconn * a), (a))                                                                    \
    CALL(int, PQntuples, (const PGresult *a), (a))                                                                     \
    CALL(char *, PQresultErrorField, (const PGresult *a, int b), (a, b))                                               \
    CALL(ExecStatusType, PQresultStatus, (const PGresult *a), (a))                                                     \
    CALL(int, PQsendQuery, (PGconn * a, const char *b), (a, b))                                                        \
    CALL(int, PQsendQueryParams,                                                                                       \
         (PGconn * a, const char *b, int c, const Oid *d, const char *const *e, const int *f, const int *g, int h),    \
         (a, b, c, d, e, f, g, h))                                                                                     \
    CALL(PGVerbosity, PQsetErrorVerbosity, (PGconn * a, PGVerbosity b), (a, b))                                        \
    CALL(PQnoticeProcessor, PQsetNoticeProcessor, (PGconn * a, PQnoticeProcessor b, void *c), (a, b, c))               \
    CALL(int, PQsocket, (const PGconn *a), (a))                                                                        \
    CALL(ConnStatusType, PQstatus, (const PGconn *a), (a))

/* The types are checked against the library's own header: each definition follows its declaration there. */
#define FORWARD(TYPE, NAME, PARAMETERS, ARGUMENTS)                                                                     \
    static TYPE(*real_##NAME) PARAMETERS;                                                                              \
    TYPE NAME PARAMETERS { return real_##NAME ARGUMENTS; }
CALLS(FORWARD)

static int is_loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
#define FIND(TYPE, NAME, PARAMETERS, ARGUMENTS)                                                                        \
    if ((real_##NAME = (TYPE(*) PARAMETERS)dlsym(library, #NAME)) == NULL) return;
    CALLS(FIND)
    is_loaded = 1;
}

int agent_load_libpq(void) {
    pthread_once(&once, load);
    return is_loaded ? 0 : -1;
}
