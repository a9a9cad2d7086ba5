#define _GNU_SOURCE 1
#include "CLinux.h"

#include <crypt.h>
#include <pthread.h>
#include <spawn.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timex.h>

#ifndef NETUSAGE_REVISION
#define NETUSAGE_REVISION "unknown"
#endif

static int signal_pipe = -1;

static void forward(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe has enough signals in it already.
    ssize_t ignored = write(signal_pipe, &byte, 1);
    (void)ignored;
    errno = saved;
}

int netusage_signal_pipe(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    signal_pipe = ends[1];
    struct sigaction action = {.sa_handler = forward, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return ends[0];
}

// ld(1) defines both: the first byte of the executable, and the first after its code. All between is read-only.
extern const char __executable_start[], etext[];

void netusage_release_startup_code(void) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
    uintptr_t end = (uintptr_t)etext & ~(page - 1);
    // If it fails, the pages just stay.
    madvise((void *)start, end - start, MADV_DONTNEED);
}

_Bool netusage_password_matches(const char *password, const char *hash) {
    struct crypt_data *data = calloc(1, sizeof *data);
    if (data == NULL) return 0;
    const char *result = crypt_r(password, hash, data);
    // A failure gives a text that begins with '*', which no hash does. The comparison takes the same time wherever
    // the two begin to differ.
    size_t length = strlen(hash);
    _Bool comparable = result != NULL && result[0] != '*' && strlen(result) == length;
    unsigned char difference = 0;
    for (size_t i = 0; comparable && i < length; i++) difference |= (unsigned char)(result[i] ^ hash[i]);
    free(data);
    return comparable && difference == 0;
}

const char *netusage_revision(void) {
    return NETUSAGE_REVISION;
}

int netusage_lock_byte(int descriptor, int64_t place) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

int netusage_rename_new(const char *from, const char *to) {
    int code = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (code == 0 || (errno != EINVAL && errno != ENOSYS)) return code;
    // A file system that can't do it in one step.
    if (access(to, F_OK) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

int netusage_open_entry(const char *path) { return open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

int netusage_link_index(int descriptor, const unsigned char *name, size_t length) {
    struct ifreq request = {0};
    if (length >= sizeof request.ifr_name) return -1;
    memcpy(request.ifr_name, name, length);
    return ioctl(descriptor, SIOCGIFINDEX, &request) == 0 ? request.ifr_ifindex : -1;
}

pid_t netusage_spawn(char *const arguments[], char *const environment[]) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t process = 0;
    int code = posix_spawn(&process, arguments[0], &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code == 0 ? process : -code;
}

pid_t netusage_spawn_with(char *const arguments[], char *const environment[], int descriptor) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, descriptor, STDERR_FILENO + 1);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 2);
    pid_t process = 0;
    int code = posix_spawn(&process, arguments[0], &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    return code == 0 ? process : -code;
}

enum { descriptors_at_most = 32 };

int netusage_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, int count) {
    if (count > descriptors_at_most) return E2BIG;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    union {
        char bytes[CMSG_SPACE(descriptors_at_most * sizeof(int))];
        struct cmsghdr header;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    }
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

ssize_t netusage_receive_descriptors(int socket, void *bytes, size_t length, int *descriptors, int *count) {
    struct iovec part = {.iov_base = bytes, .iov_len = length};
    union {
        char bytes[CMSG_SPACE(descriptors_at_most * sizeof(int))];
        struct cmsghdr header;
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *count = 0;
    ssize_t received;
    while ((received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0) {
        if (errno != EINTR) return -errno;
    }
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        *count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(descriptors, CMSG_DATA(header), *count * sizeof(int));
    }
    return received;
}

int netusage_enter_new_network(void) { return unshare(CLONE_NEWNET) == 0 ? 0 : errno; }

int netusage_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET) == 0 ? 0 : errno; }

int netusage_send_frames(unsigned ifindex, int count, int size) {
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    struct sockaddr_ll link = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};
    unsigned char frame[1500] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 1, 0x88, 0xB5};
    int problem = size < 14 || size > (int)sizeof frame ? EINVAL : 0;
    for (int sent = 0; problem == 0 && sent < count; sent++)
        if (sendto(descriptor, frame, (size_t)size, 0, (struct sockaddr *)&link, sizeof link) != size) problem = errno;
    close(descriptor);
    return problem;
}

int netusage_semaphore_wait(void *semaphore, const struct timespec *deadline) {
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, deadline);
}

int netusage_keep_beside_me(unsigned long thread, int last) {
    int processor = sched_getcpu();
    if (processor == last || processor < 0 || processor >= CPU_SETSIZE) return last;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0 ? processor : last;
}

void netusage_keep_nowhere(unsigned long thread) {
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0) pthread_setaffinity_np(thread, sizeof set, &set);
}

int netusage_clock_is_synchronised(void) {
    struct timex state = {0};
    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}
