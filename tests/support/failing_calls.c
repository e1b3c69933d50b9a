/* Makes the n-th write, sync, rename or send of a process fail, or kills the process there. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum { ERROR, FULL, KILL };
static long at, taken;
static int kind;

void failing_calls_arm(long step, int how) { at = step; kind = how; taken = 0; }
long failing_calls_taken(void) { return taken; }

static int strikes(void) {
    if (at == 0 || ++taken != at) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    return 1;
}

#define ON_DISK (kind == FULL ? ENOSPC : EIO)
#define STEP(result, name, parameters, arguments, first, error)              \
    result name parameters {                                                \
        static result (*real) parameters;                                   \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);    \
        if (first > 2 && strikes()) { errno = error; return -1; }           \
        return real arguments;                                              \
    }

STEP(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), fd, ON_DISK)
STEP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), fd, ON_DISK)
STEP(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), fd, ON_DISK)
STEP(int, fsync, (int fd), (fd), fd, ON_DISK)
STEP(int, fdatasync, (int fd), (fd), fd, ON_DISK)
STEP(int, rename, (const char *from, const char *to), (from, to), 3, ON_DISK)
// The connection is ended too, as a real reset does: libraries go on to read the answer, and would wait for it.
STEP(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f), fd, (shutdown(fd, SHUT_RDWR), ECONNRESET))
