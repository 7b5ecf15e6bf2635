#include "CAgentShims.h"
#include <pthread.h>
#include <stdlib.h>

/* Of the Swift runtime (swift/Runtime/Concurrency.h). No executor: the job belongs to no actor. */
extern __attribute__((swiftcall)) void swift_job_run(void *job, void *executor, uintptr_t implementation);

/* Of libdispatch, whose headers a C target is not given. */
typedef struct Queue *Queue;
extern Queue dispatch_queue_create(const char *label, void *attributes);
extern uint64_t dispatch_time(uint64_t base, int64_t delta);
extern void dispatch_after_f(uint64_t when, Queue, void *context, void (*work)(void *));

/* Jobs that wait, first come first served, and threads that take them; a thread is added when none is free. */
struct Waiting {
    void *job;
    struct Waiting *next;
};
enum { most_threads = 4 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct Waiting *first, **end = &first;
static int threads, idle_threads, waiting_jobs;

static void *take_jobs(void *unused) {
    (void)unused;
    agent_name_thread("tasks");
    pthread_mutex_lock(&mutex);
    for (;;) {
        idle_threads++;
        while (first == NULL) pthread_cond_wait(&arrived, &mutex);
        idle_threads--;
        waiting_jobs--;
        struct Waiting *taken = first;
        first = taken->next;
        if (first == NULL) end = &first;
        pthread_mutex_unlock(&mutex);
        void *job = taken->job;
        free(taken);
        swift_job_run(job, NULL, 0);
        pthread_mutex_lock(&mutex);
    }
}

static void start_thread(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    /* Where the system refuses one, those that are there do the work; without any there is no agent. */
    if (pthread_create(&thread, &attributes, take_jobs, NULL) == 0)
        threads++;
    else if (threads == 0)
        abort();
    pthread_attr_destroy(&attributes);
}

void agent_run_job(void *job) {
    struct Waiting *waiting = malloc(sizeof *waiting);
    if (waiting == NULL) abort();
    *waiting = (struct Waiting){job, NULL};
    pthread_mutex_lock(&mutex);
    *end = waiting;
    end = &waiting->next;
    waiting_jobs++;
    if (waiting_jobs > idle_threads && threads < most_threads) start_thread();
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&mutex);
}

static Queue timers;
static void create_timers(void) {
    timers = dispatch_queue_create("timers", NULL);
}

void agent_run_job_after(void *job, int64_t nanoseconds) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, create_timers);
    dispatch_after_f(dispatch_time(0, nanoseconds), timers, job, agent_run_job);
}
