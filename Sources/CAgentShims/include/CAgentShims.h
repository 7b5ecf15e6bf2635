#ifndef CAGENTSHIMS_H
#define CAGENTSHIMS_H

#include <stdint.h>
#include <sys/types.h>

/* Linux calls that Swift does not import (variadic, macro constants) or that must be one step in C.
   Each returns -1 with errno set on failure, like the call that it wraps. */

/* pipe2(2) with O_CLOEXEC; the pipe holds `capacity` bytes where the kernel allows it. */
int agent_pipe(int fds[2], int capacity);
/* F_GETPIPE_SZ. */
int agent_pipe_capacity(int fd);
/* Clears or sets O_NONBLOCK. */
int agent_set_blocking(int fd, int blocking);
/* Whether the process may open so many further descriptors at this moment: 1 or 0, with errno. */
int agent_has_descriptors(int count);
/* eventfd(2), close-on-exec and non-blocking: readable once written, until read. */
int agent_eventfd(void);
/* pidfd_open(2): readable when the process has ended. */
int agent_pidfd_open(pid_t pid);
/* pidfd_send_signal(2): reaches that very process or fails with ESRCH, never a successor of its id. */
int agent_pidfd_signal(int pidfd, int signal);
/* PR_SET_CHILD_SUBREAPER: orphans of our children become ours instead of PID 1's. */
int agent_become_subreaper(void);
/* The id of a child that has ended and was not waited for, 0 when there is none; it stays a zombie. */
pid_t agent_peek_ended_child(void);
/* Whether the child `pid` has ended, without waiting for it: 1, 0, or -1. `code` is its exit code or signal number,
   `signaled` tells which. */
int agent_peek_child(pid_t pid, int *code, int *signaled);
/* The soft RLIMIT_LOCKS of a process, 0 for the caller's own (prlimit(2)); UINT64_MAX when it has none or it may not be
   read. */
uint64_t agent_file_locks_limit(pid_t pid);
/* Sets the caller's own. */
int agent_set_file_locks_limit(uint64_t limit);
/* Kills those of the caller's children that have this soft RLIMIT_LOCKS, `leader` excepted, newest first and again and
   again for as long as there are any, a tenth of a second at most, and reaps them; how many it killed. One that forks and
   ends all the time is a new process every few microseconds: only this is fast enough to catch it. */
int agent_kill_marked_children(uint64_t limit, pid_t leader);
/* A process in a session of its own that reads `fd` to its end and throws it away; its id. */
pid_t agent_spawn_drain(int fd);
/* Starts this very program again in a session of its own, with `arguments`, an empty environment, and `fd` as its standard
   input; its id. */
pid_t agent_spawn_guard(char *const arguments[], int fd);
/* timerfd_create(2) on CLOCK_BOOTTIME, which goes on while the machine sleeps; readable from the set time on. */
int agent_boottime_timer(void);
/* Sets it to a time in nanoseconds since boot. */
int agent_set_boottime_timer(int timer, int64_t nanoseconds);
/* Names the calling thread (15 bytes are kept). */
void agent_name_thread(const char *name);
/* open(2) with O_CLOEXEC and a mode. */
int agent_open(const char *path, int flags, mode_t mode);
/* memmem(3): the offset of the first match, -1 when there is none. */
ssize_t agent_find(const void *haystack, size_t length, const void *needle, size_t needle_length);
/* Call first, before any thread starts: gives every signal its default disposition, whatever the parent left, and blocks
   all of them in this thread and those that it starts, so that each waits until it is taken. */
void agent_take_signals(void);
/* Waits for a signal to this process: its number, and whether the kernel sent it, a terminal above all; -1 to wait again.
   A fault of the program's own (SIGSEGV, say) does not come by here: the kernel lets it end the process. */
int agent_next_signal(int *by_kernel);
/* What a blocked signal does to a process by default, or nothing where it is ignored. Where it stops the process, returns
   once that was continued. */
void agent_default_action(int number);
/* Whether the process has a controlling terminal. */
int agent_has_terminal(void);
/* Call right after agent_take_signals: as PID 1 of a container it returns in a child only. PID 1 itself forwards signals
   to that child, reaps every orphan, and ends with the child's exit code, or 128+N when signal N ended it. */
void agent_carry_on_as_child_of_init(void);
/* How a program is started. */
struct agent_spawn_how {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const char *folder;
    /* What its standard streams are: -1 for ours; the standard input of a session of its own is /dev/null. */
    int output, errors;
    /* Whether it leads a session of its own; else it leads a process group. */
    int leads_session;
    /* A terminal whose foreground it gets, or -1. */
    int terminal;
};
/* Starts a program with signals at their defaults and no other descriptors. 0 and `pid`, or an error number. */
int agent_spawn(const struct agent_spawn_how *how, pid_t *pid);
/* Waits until the child ends or stops: 'e' exited with `value`, 's' ended by signal `value`, 't' stopped by it, -1 no such
   child. One that has ended is reaped. */
int agent_wait_child(pid_t pid, int *value);
/* Takes the terminal's foreground for a process group although the caller is in the background (tcsetpgrp(3)). */
int agent_set_foreground(int terminal, pid_t group);
/* Call before any file is opened: opens missing standard streams on /dev/null, and ignores SIGPIPE and SIGXFSZ, so that a closed pipe or a
   full quota is an error of the write, not the end of the agent. */
void agent_prepare_process(int is_sidecar);
/* Takes the exclusive lock of the open file (fcntl(2), F_OFD_SETLK) without waiting: 1 taken, 0 held by another. The
   lock ends when the descriptor is closed, so with the process. */
int agent_try_lock(int fd);
/* Whether another open file holds that lock (F_OFD_GETLK), without touching it: 1, 0, or -1. */
int agent_is_locked(int fd);
int agent_unlock(int fd);
/* Claims a name on this machine (an abstract unix socket, unix(7)) for as long as the descriptor is open, so with the
   process: the descriptor; -1 with errno EADDRINUSE when a process has it, then `pid` and `uid` are that one's, 0 when it
   cannot be told. Never blocks for long. */
int agent_claim_name(const char *name, pid_t *pid, uid_t *uid);
/* Makes room in a claim's queue for those that ask who has it. */
void agent_forget_askers(int claim);
/* Starts the threads that jobs need at least: one to run them, one that waits for their time. 0, or an error number. */
int agent_start_executor(void);
/* Runs a job of Swift's concurrency on one of at most four threads: soon, or when so much time has passed. */
void agent_run_job(void *job);
void agent_run_job_after(void *job, int64_t nanoseconds);
/* The process environment as the kernel gave it. */
char **agent_environment(void);

#endif
