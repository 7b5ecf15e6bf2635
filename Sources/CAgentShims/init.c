#include "CAgentShims.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    /* Signals are blocked, not handled: init is sent only those signals that it handles or blocks, and none may be lost. */
    pid_t agent = fork();
    if (agent == 0) return;
    if (agent < 0) {
        dprintf(2, "agent: cannot start as a child of PID 1: %s\n", strerror(errno));
        _exit(71); /* EX_OSERR */
    }
    for (;;) {
        int by_kernel;
        int number = agent_next_signal(&by_kernel);
        if (number < 0) continue;
        if (number == SIGCHLD) {
            int code = reap_until(agent);
            if (code >= 0) _exit(code);
        } else if (!by_kernel) {
            /* What the terminal sends goes to the whole foreground group, the agent included. */
            kill(agent, number);
        }
    }
}
