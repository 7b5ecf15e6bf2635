// Loaded into the programs of a test (LD_PRELOAD).
//
// PRELOAD_ARGUMENTS names a file that gets the command line of each program, one a line.
//
// PRELOAD_COUNT names a file that gets a byte for each step of the agent's: a call that changes names or content of files,
// or waits for them to be on the disk. It must not be there before. At step PRELOAD_KILL_AT, counted from 1, the agent is killed in place of it, and its name is the content of the file
// PRELOAD_COUNT.killed.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int counts = -1;
static long kill_at;
static atomic_long steps;

static void append_arguments(const char *file) {
    char text[65536];
    int in = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = in < 0 ? 0 : read(in, text, sizeof text - 1);
    if (in >= 0) close(in);
    if (size <= 0) return;
    for (ssize_t i = 0; i < size; i++)
        if (text[i] == 0 || text[i] == '\n') text[i] = ' ';
    text[size] = '\n';
    int out = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0) return;
    if (write(out, text, (size_t)size + 1) < 0) abort();
    close(out);
}

__attribute__((constructor)) static void begin(void) {
    const char *arguments = getenv("PRELOAD_ARGUMENTS"), *count = getenv("PRELOAD_COUNT"), *at = getenv("PRELOAD_KILL_AT");
    if (arguments && *arguments) append_arguments(arguments);
    char program[4096];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (!count || !*count || size <= 0) return;
    program[size] = 0;
    const char *name = strrchr(program, '/');
    if (!name || strcmp(name, "/agent") != 0) return;
    kill_at = at && *at ? atol(at) : 0;
    // What the agent starts from its own program does not count.
    counts = open(count, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static ssize_t (*real_write)(int, const void *, size_t);

static void step(const char *name) {
    if (counts < 0) return;
    if (!real_write) *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    if (real_write(counts, ".", 1) < 0) abort();
    if (atomic_fetch_add(&steps, 1) + 1 != kill_at) return;
    char file[4096];
    snprintf(file, sizeof file, "%s.killed", getenv("PRELOAD_COUNT"));
    int out = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out < 0 || real_write(out, name, strlen(name)) < 0) abort();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_file(int descriptor) {
    struct stat info;
    return fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
}

#define NAMES(result, name, parameters, arguments)                                      \
    result name parameters {                                                            \
        static result(*real) parameters;                                                \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                           \
        step(#name);                                                                    \
        return real arguments;                                                          \
    }

#define CONTENT(result, name, parameters, arguments)                                    \
    result name parameters {                                                            \
        static result(*real) parameters;                                                \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                           \
        if (counts >= 0 && descriptor != counts && is_file(descriptor)) step(#name);    \
        return real arguments;                                                          \
    }

NAMES(int, rename, (const char *from, const char *to), (from, to))
NAMES(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
NAMES(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
NAMES(int, unlink, (const char *path), (path))
NAMES(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
NAMES(int, rmdir, (const char *path), (path))
NAMES(int, mkdir, (const char *path, mode_t mode), (path, mode))
NAMES(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
NAMES(int, symlink, (const char *to, const char *path), (to, path))
NAMES(int, symlinkat, (const char *to, int folder, const char *path), (to, folder, path))
NAMES(int, link, (const char *from, const char *to), (from, to))
NAMES(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
NAMES(int, truncate, (const char *path, off_t size), (path, size))
CONTENT(int, ftruncate, (int descriptor, off_t size), (descriptor, size))
CONTENT(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size))
CONTENT(int, fsync, (int descriptor), (descriptor))
CONTENT(int, fdatasync, (int descriptor), (descriptor))
CONTENT(ssize_t, write, (int descriptor, const void *bytes, size_t count), (descriptor, bytes, count))
CONTENT(ssize_t, pwrite, (int descriptor, const void *bytes, size_t count, off_t at), (descriptor, bytes, count, at))
CONTENT(ssize_t, pwrite64, (int descriptor, const void *bytes, size_t count, off64_t at), (descriptor, bytes, count, at))
