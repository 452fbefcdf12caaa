/* interrupt.c - the first SIGINT or SIGTERM is a request, the second one an order. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"

volatile sig_atomic_t vlorpi_interrupt_signal;

static void remember(int signal_number)
{
    if (vlorpi_interrupt_signal != 0) {
        _exit(128 + signal_number);
    }
    vlorpi_interrupt_signal = signal_number;
}

void vlorpi_interrupt_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}
