/* Makes calls for one file wait, as a network file system does if its server is gone; preloaded into the program. TEST_STUCK names a
   file that holds how many milliseconds a call waits, and the path. With 0, a call waits as long as the path is in that file. The path
   "netlink" means requests to the kernel: they wait as they do for the kernel's lock of the network configuration. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int (*real_open)(const char *, int, ...);

/* Whether calls for this path wait now, and for how long. */
static bool is_stuck(const char *path, long *milliseconds) {
    if (real_open == NULL) real_open = dlsym(RTLD_NEXT, "open");
    const char *name = getenv("TEST_STUCK");
    int file = name == NULL ? -1 : real_open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char stuck[4096] = {0};
    ssize_t count = read(file, stuck, sizeof stuck - 1);
    close(file);
    if (count <= 0) return false;
    char *stuck_path;
    *milliseconds = strtol(stuck, &stuck_path, 10);
    return *stuck_path == ' ' && strcmp(stuck_path + 1, path) == 0;
}

static void wait_if_stuck(const char *path) {
    long milliseconds;
    while (is_stuck(path, &milliseconds)) {
        usleep(milliseconds > 0 ? milliseconds * 1000 : 20000);
        if (milliseconds > 0) return;
    }
}

int open(const char *path, int flags, ...) {
    wait_if_stuck(path);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return real_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    wait_if_stuck(path);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return real_open(path, flags, mode);
}

int stat(const char *restrict path, struct stat *restrict status) {
    wait_if_stuck(path);
    return fstatat(AT_FDCWD, path, status, 0);
}

ssize_t send(int descriptor, const void *bytes, size_t count, int flags) {
    int domain = 0;
    socklen_t length = sizeof domain;
    getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    if (domain == AF_NETLINK) wait_if_stuck("netlink");
    return sendto(descriptor, bytes, count, flags, NULL, 0);
}

int posix_spawn(pid_t *restrict process, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const *restrict arguments,
                char *const *restrict environment) {
    static int (*real_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                             char *const *, char *const *);
    if (real_spawn == NULL) real_spawn = dlsym(RTLD_NEXT, "posix_spawn");
    wait_if_stuck(path);
    return real_spawn(process, path, actions, attributes, arguments, environment);
}
