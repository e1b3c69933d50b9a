/* Makes the n-th write, sync, rename or send of a process fail, or kills the process there. Loaded with LD_PRELOAD.
   Where the environment names a file FAILING_CALLS_LOG, each call that is counted is a line of it: what, and on what. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { ERROR, FULL, KILL };
enum { RENAME = 1 << 30 };
static long at, taken;
static int kind;

void failing_calls_arm(long step, int how) { at = step; kind = how; taken = 0; }
long failing_calls_taken(void) { return taken; }

static void note(const char *name, int fd) {
    static int log = -2;
    if (log == -2) {
        const char *file = getenv("FAILING_CALLS_LOG");
        log = file ? open(file, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    }
    if (log < 0) return;
    char link[32], on[4096], line[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = fd == RENAME ? 0 : readlink(link, on, sizeof on);
    int size = snprintf(line, sizeof line, "%s %.*s\n", name, (int)(length < 0 ? 0 : length), on);
    syscall(SYS_write, log, line, size);
}

static int strikes(const char *name, int fd) {
    if (at == 0) return 0;
    note(name, fd);
    if (++taken != at) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    return 1;
}

#define ON_DISK (kind == FULL ? ENOSPC : EIO)
#define STEP(result, name, parameters, arguments, first, error)              \
    result name parameters {                                                \
        static result (*real) parameters;                                   \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);    \
        if (first > 2 && strikes(#name, first)) { errno = error; return -1; }           \
        return real arguments;                                              \
    }

STEP(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), fd, ON_DISK)
STEP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), fd, ON_DISK)
STEP(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), fd, ON_DISK)
STEP(int, fsync, (int fd), (fd), fd, ON_DISK)
STEP(int, fdatasync, (int fd), (fd), fd, ON_DISK)
STEP(int, rename, (const char *from, const char *to), (from, to), RENAME, ON_DISK)
// The connection is ended too, as a real reset does: libraries go on to read the answer, and would wait for it.
STEP(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f), fd, (shutdown(fd, SHUT_RDWR), ECONNRESET))
