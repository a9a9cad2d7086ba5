/* Lets calls for one file wait, as a network file system does: for ever if its server is gone. The file that TEST_STUCK
   names holds how many milliseconds, 0 for ever, and the path; "netlink" stands for requests to the kernel, which wait
   for its lock of network configuration. Preloaded into the program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int (*real_open)(const char *, int, ...);

static void wait_if_stuck(const char *path) {
    if (real_open == NULL) real_open = dlsym(RTLD_NEXT, "open");
    const char *name = getenv("TEST_STUCK");
    int file = name == NULL ? -1 : real_open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    char stuck[4096] = {0};
    ssize_t count = read(file, stuck, sizeof stuck - 1);
    close(file);
    if (count <= 0) return;
    char *stuck_path;
    long milliseconds = strtol(stuck, &stuck_path, 10);
    if (*stuck_path != ' ' || strcmp(stuck_path + 1, path) != 0) return;
    if (milliseconds > 0) usleep(milliseconds * 1000);
    else for (;;) pause();
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
