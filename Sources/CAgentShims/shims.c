#define _GNU_SOURCE
#include "CAgentShims.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

extern char **environ;

int agent_pipe(int fds[2], int capacity) {
    if (pipe2(fds, O_CLOEXEC) != 0) return -1;
    /* Over the limit of an unprivileged user this fails and the default of 64 KiB stays: slower, not wrong. */
    if (capacity > 0) (void)fcntl(fds[0], F_SETPIPE_SZ, capacity);
    return 0;
}

int agent_pipe_capacity(int fd) { return fcntl(fd, F_GETPIPE_SZ); }

int agent_set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

int agent_has_descriptors(int count) {
    int first = eventfd(0, EFD_CLOEXEC);
    if (first < 0) return 0;
    int has = count <= 1 || agent_has_descriptors(count - 1);
    int error = errno;
    close(first);
    errno = error;
    return has;
}

int agent_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int agent_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int agent_pidfd_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int agent_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

pid_t agent_peek_ended_child(void) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 0;
    return info.si_pid;
}

int agent_peek_child(pid_t pid, int *code, int *signaled) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return -1;
    if (info.si_pid != pid) return 0;
    *code = info.si_status;
    *signaled = info.si_code != CLD_EXITED;
    return 1;
}

uint64_t agent_file_locks_limit(pid_t pid) {
    struct rlimit limit;
    return prlimit(pid, RLIMIT_LOCKS, NULL, &limit) == 0 ? (uint64_t)limit.rlim_cur : UINT64_MAX;
}

int agent_set_file_locks_limit(uint64_t value) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_LOCKS, &limit) != 0) return -1;
    limit.rlim_cur = (rlim_t)value;
    return setrlimit(RLIMIT_LOCKS, &limit);
}

int agent_kill_marked_children(uint64_t limit, pid_t leader) {
    char path[64], list[65536];
    struct timespec now, end;
    int killed = 0;
    /* Orphans become children of the first thread. */
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += 100 * 1000 * 1000;
    for (int clean = 0; clean < 2;) {
        ssize_t length = pread(fd, list, sizeof list - 1, 0);
        int found = 0;
        list[length > 0 ? length : 0] = '\0';
        for (char *at = list + (length > 0 ? length : 0); at > list;) {
            /* The list is "1 2 3 ": back to the begin of the number before `at`. */
            while (at > list && at[-1] == ' ') at--;
            while (at > list && at[-1] != ' ') at--;
            pid_t pid = (pid_t)atoi(at);
            if (pid <= 0 || pid == leader || agent_file_locks_limit(pid) != limit) continue;
            /* It stays a child, dead or alive, until it is reaped here: its id is nobody else's. */
            kill(pid, SIGKILL);
            if (waitpid(pid, NULL, WNOHANG) == 0) found = 1, killed++;
        }
        clean = found ? 0 : clean + 1;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - end.tv_sec) * 1000000000L + now.tv_nsec >= end.tv_nsec) break;
    }
    close(fd);
    return killed;
}

/* A program starts with no signal blocked and each at its default, the two as well that the C library has for itself and that a
   set of its own never holds: a handler of ours for them would become "ignored". */
static void set_clean_start(posix_spawnattr_t *attributes, short flags) {
    sigset_t none, all;
    sigemptyset(&none);
    memset(&all, 0xFF, sizeof all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setflags(attributes, flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* A process in a session of its own, with `fd` as its standard input and nothing else of ours. */
static pid_t agent_spawn_helper(const char *program, char *const arguments[], char *const environment[], int fd) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    set_clean_start(&attributes, POSIX_SPAWN_SETSID);
    int error = posix_spawnp(&pid, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return pid;
}

pid_t agent_spawn_drain(int fd) {
    char *const arguments[] = {"cat", NULL};
    char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
    return agent_spawn_helper("cat", arguments, environment, fd);
}

pid_t agent_spawn_guard(char *const arguments[], int fd) {
    char *const environment[] = {NULL};
    return agent_spawn_helper("/proc/self/exe", arguments, environment, fd);
}

int agent_boottime_timer(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK); }

int agent_set_boottime_timer(int timer, int64_t nanoseconds) {
    struct itimerspec time;
    memset(&time, 0, sizeof time);
    time.it_value.tv_sec = (time_t)(nanoseconds / 1000000000);
    time.it_value.tv_nsec = (long)(nanoseconds % 1000000000);
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &time, NULL);
}

int agent_spawn(const struct agent_spawn_how *how, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addchdir_np(&actions, how->folder);
    if (how->leads_session) posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (how->output >= 0) posix_spawn_file_actions_adddup2(&actions, how->output, 1);
    if (how->errors >= 0) posix_spawn_file_actions_adddup2(&actions, how->errors, 2);
    /* In the child, before the program runs: it must not find itself in the background. */
    if (how->terminal >= 0) posix_spawn_file_actions_addtcsetpgrp_np(&actions, how->terminal);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_setpgroup(&attributes, 0);
    set_clean_start(&attributes, how->leads_session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP);
    int error = posix_spawn(pid, how->path, &actions, &attributes, how->arguments, how->environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

int agent_wait_child(pid_t pid, int *value) {
    siginfo_t info;
    for (;;) {
        memset(&info, 0, sizeof info);
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED) != 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        *value = info.si_status;
        return info.si_code == CLD_EXITED ? 'e' : info.si_code == CLD_STOPPED ? 't' : 's';
    }
}

int agent_set_foreground(int terminal, pid_t group) {
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    int result = tcsetpgrp(terminal, group);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

void agent_name_thread(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }

int agent_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }

ssize_t agent_find(const void *haystack, size_t length, const void *needle, size_t needle_length) {
    const char *found = memmem(haystack, length, needle, needle_length);
    return found == NULL ? -1 : found - (const char *)haystack;
}

void agent_prepare_process(int is_sidecar) {
    /* A missing standard stream would give its number to the next file that is opened, the ledger perhaps. */
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1) (void)open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* The sidecar takes SIGHUP as a request; one that comes before it listens must not end it. */
    if (is_sidecar) signal(SIGHUP, SIG_IGN);
}

static int agent_lock_call(int fd, int command, short type, struct flock *lock) {
    memset(lock, 0, sizeof *lock);
    lock->l_type = type;
    lock->l_whence = SEEK_SET;
    return fcntl(fd, command, lock);
}

int agent_try_lock(int fd) {
    struct flock lock;
    if (agent_lock_call(fd, F_OFD_SETLK, F_WRLCK, &lock) == 0) return 1;
    return errno == EAGAIN || errno == EACCES ? 0 : -1;
}

int agent_is_locked(int fd) {
    struct flock lock;
    if (agent_lock_call(fd, F_OFD_GETLK, F_WRLCK, &lock) != 0) return -1;
    return lock.l_type != F_UNLCK;
}

int agent_unlock(int fd) {
    struct flock lock;
    return agent_lock_call(fd, F_OFD_SETLK, F_UNLCK, &lock);
}

static int agent_bind_name(const struct sockaddr_un *address, socklen_t size) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (bind(fd, (const struct sockaddr *)address, size) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int agent_claim_name(const char *name, pid_t *pid, uid_t *uid) {
    struct sockaddr_un address;
    struct ucred peer;
    socklen_t peer_size = sizeof peer;
    size_t length = strlen(name);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (length > sizeof address.sun_path - 1) length = sizeof address.sun_path - 1;
    memcpy(address.sun_path + 1, name, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    *pid = 0;
    *uid = 0;
    /* Who has the name may go away between the two calls; then it is there for the taking. */
    for (int attempt = 0; attempt < 100; attempt++) {
        int fd = agent_bind_name(&address, size);
        if (fd >= 0 || errno != EADDRINUSE) return fd;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return -1;
        int connected = connect(fd, (const struct sockaddr *)&address, size);
        int error = errno;
        /* The peer of a connection is whoever called listen. */
        if (connected == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0) {
            *pid = peer.pid;
            *uid = peer.uid;
        }
        close(fd);
        /* EAGAIN: so many have asked that the holder's queue is full. */
        if (connected == 0 || error == EAGAIN) break;
        usleep(1000);
    }
    errno = EADDRINUSE;
    return -1;
}

void agent_forget_askers(int claim) {
    int fd;
    while ((fd = accept4(claim, NULL, NULL, SOCK_CLOEXEC)) >= 0) close(fd);
}

char **agent_environment(void) { return environ; }
