#include "CAgentShims.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reaps whatever has ended; returns the exit code once that is the agent, else -1. */
static int reap_until(pid_t agent) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != agent) continue;
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return -1;
}

void agent_carry_on_as_child_of_init(void) {
    if (getpid() != 1) return;
    sigset_t all, before;
    sigfillset(&all);
    /* Blocked, not handled: init is sent only those signals that it handles or blocks, and none may be lost. */
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t agent = fork();
    if (agent == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    if (agent < 0) _exit(71); /* EX_OSERR */
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info);
        if (number < 0) continue;
        if (number == SIGCHLD) {
            int code = reap_until(agent);
            if (code >= 0) _exit(code);
        } else if (info.si_code != SI_KERNEL) {
            /* What the terminal sends goes to the whole foreground group, the agent included. */
            kill(agent, number);
        }
    }
}
