// Process 1 of a pod's sandbox and of the node's own process namespace. It keeps the namespaces alive and reaps the
// processes that nobody waits for; a container runtime's shims are left to process 1 by design. It needs no library,
// so that its image is this one file.

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal_number) {
    (void)signal_number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static void end(int signal_number) {
    (void)signal_number;
    _exit(0);
}

int main(void) {
    struct sigaction reaping = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    struct sigaction ending = {.sa_handler = end};
    if (sigaction(SIGCHLD, &reaping, NULL) < 0 || sigaction(SIGINT, &ending, NULL) < 0 ||
        sigaction(SIGTERM, &ending, NULL) < 0) {
        return 1;
    }
    for (;;) {
        pause();
    }
}
