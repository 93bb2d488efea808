/* Kills the process just before or just after its n-th call that makes a disk keep something; loaded before the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

static long calls = 0, deadly = 0;
static int after = 0;

void killer_arm(long n, int when) { calls = 0; deadly = n; after = when; }

/* Python counts its commits as well, each of which holds calls of its own. Returns the number of the call, for its end. */
long killer_begin(void) {
    calls++;
    if (calls == deadly && !after) kill(getpid(), SIGKILL);
    return calls;
}

void killer_end(long number) {
    if (number == deadly && after) kill(getpid(), SIGKILL);
}

static int passed(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    long number = killer_begin();
    int result = real(file);
    killer_end(number);
    return result;
}

int fsync(int file) { return passed("fsync", file); }
int fdatasync(int file) { return passed("fdatasync", file); }
