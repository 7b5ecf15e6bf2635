#include "CAgentShims.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Of the Swift runtime (swift/Runtime/Concurrency.h). No executor: the job belongs to no actor. */
extern __attribute__((swiftcall)) void swift_job_run(void *job, void *executor, uintptr_t implementation);

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

static int start_detached(void *(*body)(void *)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, body, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

void agent_run_job(void *job) {
    struct Waiting *waiting = malloc(sizeof *waiting);
    if (waiting == NULL) abort();
    *waiting = (struct Waiting){job, NULL};
    pthread_mutex_lock(&mutex);
    *end = waiting;
    end = &waiting->next;
    waiting_jobs++;
    /* Where the system refuses a further one, those that are there do the work. */
    if (waiting_jobs > idle_threads && threads < most_threads && start_detached(take_jobs) == 0) threads++;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&mutex);
}

/* Jobs whose time is to come, the next one first, and the thread that waits for it. Not Dispatch's timers: where the system
   has no thread left for those, whoever sets one hangs. */
struct Timer {
    struct timespec time;
    void *job;
    struct Timer *next;
};
static pthread_mutex_t timers_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t timers_changed;
static struct Timer *next_timer;

static int is_before(struct timespec a, struct timespec b) {
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static void *wait_for_timers(void *unused) {
    (void)unused;
    agent_name_thread("timers");
    pthread_mutex_lock(&timers_mutex);
    for (;;) {
        struct Timer *timer = next_timer;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (timer == NULL) {
            pthread_cond_wait(&timers_changed, &timers_mutex);
        } else if (is_before(now, timer->time)) {
            pthread_cond_timedwait(&timers_changed, &timers_mutex, &timer->time);
        } else {
            next_timer = timer->next;
            pthread_mutex_unlock(&timers_mutex);
            agent_run_job(timer->job);
            free(timer);
            pthread_mutex_lock(&timers_mutex);
        }
    }
}

void agent_run_job_after(void *job, int64_t nanoseconds) {
    struct Timer *timer = malloc(sizeof *timer);
    if (timer == NULL) abort();
    clock_gettime(CLOCK_MONOTONIC, &timer->time);
    int64_t part = timer->time.tv_nsec + nanoseconds % 1000000000;
    timer->time.tv_sec += (time_t)(nanoseconds / 1000000000 + part / 1000000000);
    timer->time.tv_nsec = (long)(part % 1000000000);
    timer->job = job;
    pthread_mutex_lock(&timers_mutex);
    struct Timer **place = &next_timer;
    while (*place != NULL && !is_before(timer->time, (*place)->time)) place = &(*place)->next;
    timer->next = *place;
    *place = timer;
    if (next_timer == timer) pthread_cond_signal(&timers_changed);
    pthread_mutex_unlock(&timers_mutex);
}

int agent_start_executor(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&timers_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int error = start_detached(wait_for_timers);
    if (error == 0) error = start_detached(take_jobs);
    if (error == 0) threads = 1;
    return error;
}
