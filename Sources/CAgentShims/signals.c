#define _GNU_SOURCE
#include "CAgentShims.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library has two signals (32, 33) for itself and leaves them out of every set: the kernel is asked directly. Neither
   of what it has them for, cancelling threads and changing the user of all of them, is done here. */
static const uint64_t every_signal = ~(uint64_t)0;

static void change_mask(int how, uint64_t signals) { syscall(SYS_rt_sigprocmask, how, &signals, NULL, sizeof signals); }

void agent_take_signals(void) {
    /* What a parent ignored is inherited over exec. A child whose end is ignored leaves no exit code. */
    for (int number = 1; number < NSIG; number++) {
        struct sigaction found;
        if (sigaction(number, NULL, &found) == 0 && found.sa_handler == SIG_IGN) (void)signal(number, SIG_DFL);
    }
    change_mask(SIG_BLOCK, every_signal);
}

int agent_next_signal(int *by_kernel) {
    siginfo_t info;
    int number = (int)syscall(SYS_rt_sigtimedwait, &every_signal, &info, NULL, sizeof every_signal);
    *by_kernel = number > 0 && info.si_code == SI_KERNEL;
    return number;
}

void agent_default_action(int number) {
    uint64_t one = (uint64_t)1 << (number - 1);
    syscall(SYS_tgkill, getpid(), gettid(), number);
    change_mask(SIG_UNBLOCK, one);
    change_mask(SIG_BLOCK, one);
}

int agent_has_terminal(void) {
    int terminal = agent_open("/dev/tty", 0, 0);
    if (terminal >= 0) close(terminal);
    return terminal >= 0;
}
