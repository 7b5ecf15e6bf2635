#include "CAgentShims.h"
#include <stddef.h>
#include <stdint.h>

/* Of libdispatch, whose headers a C target is not given. */
typedef struct Queue *Queue;
extern Queue dispatch_get_global_queue(intptr_t priority, uintptr_t flags);
extern void dispatch_async_f(Queue, void *context, void (*work)(void *));
extern uint64_t dispatch_time(uint64_t base, int64_t delta);
extern void dispatch_after_f(uint64_t when, Queue, void *context, void (*work)(void *));

/* Of the Swift runtime (swift/Runtime/Concurrency.h). No executor: the job belongs to no actor. */
extern __attribute__((swiftcall)) void swift_job_run(void *job, void *executor, uintptr_t implementation);

static void run(void *job) {
    swift_job_run(job, NULL, 0);
}

static Queue pool(void) {
    const uintptr_t overcommit = 2; /* DISPATCH_QUEUE_OVERCOMMIT of dispatch/private.h */
    return dispatch_get_global_queue(0, overcommit);
}

void agent_run_job(void *job) {
    dispatch_async_f(pool(), job, run);
}

void agent_run_job_after(void *job, int64_t nanoseconds) {
    dispatch_after_f(dispatch_time(0, nanoseconds), pool(), job, run);
}
