// The C library and the kernel's interfaces, and small wrappers for what Swift can't import:
// macros with casts and functions with variable arguments.
#ifndef NETUSAGE_CLINUX_H
#define NETUSAGE_CLINUX_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// asm-generic/socket.h; the C library's headers may be older than the kernel.
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/// The part of `struct tcp_info` of linux/tcp.h that the C library's header doesn't have.
struct netusage_tcp_info {
    unsigned char before[120];
    uint64_t bytes_acked;
};

/// The clock that counts from boot, by the kernel itself: programs that fake the wall clock don't reach it.
static inline int64_t netusage_boot_nanoseconds(void) {
    struct timespec time = {0, 0};
    syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/// Waits for a semaphore until a moment of the monotonic clock (sem_clockwait(3), an extension of glibc's).
///
/// Returns 0, or -1 with `errno`: ETIMEDOUT, EINTR.
int netusage_semaphore_wait(void *semaphore, const struct timespec *deadline);

/// Keeps a thread (a `pthread_t`) to the processor that the caller runs on, unless that is `last`, to which it was kept before.
///
/// Returns the processor's number; `last` where the thread stays as it was, because the system doesn't allow it
/// (sched_setaffinity(2)) or the processor isn't known.
int netusage_keep_beside_me(unsigned long thread, int last);

/// Lets a thread run wherever the caller may.
void netusage_keep_nowhere(unsigned long thread);

/// `TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET` of sys/timerfd.h, an enumeration that Swift imports as two types.
static inline int netusage_arm_wall_timer(int descriptor, int64_t seconds) {
    struct itimerspec when = {{0, 0}, {seconds, 0}};
    return timerfd_settime(descriptor, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

/// Locks one byte of an open file for writing (`F_OFD_SETLK` of fcntl(2)); -1 with errno.
int netusage_lock_byte(int descriptor, int64_t place);

/// Renames unless the new name is taken (`RENAME_NOREPLACE` of rename(2)); -1 with errno.
int netusage_rename_new(const char *from, const char *to);

/// Opens what a path names, a link itself, too, for looking only (`O_PATH | O_NOFOLLOW` of open(2)); -1 with errno.
int netusage_open_entry(const char *path);

/// Only messages about default routes come through: `rtm_dst_len`, the second byte of `struct rtmsg`, is 0.
static inline int netusage_filter_default_routes(int descriptor) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, sizeof(struct nlmsghdr) + 1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xFFFFFFFF),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/// From here on SIGTERM, SIGINT and SIGHUP come as bytes, their numbers, out of a pipe.
///
/// A signalfd(2) would need them blocked in every thread, and libdispatch waits on the main thread with none blocked.
/// To be called once. Returns the end to read from, or -1 with errno.
int netusage_signal_pipe(void);

/// Gives back the pages of code that were needed at start only; what is needed again is mapped again from the page cache.
void netusage_release_startup_code(void);

/// Whether a password gives this hash, in any of the methods of crypt(5); bcrypt takes a tenth of a second or more.
_Bool netusage_password_matches(const char *password, const char *hash);

/// The number of the link with a name in a socket's namespace (`SIOCGIFINDEX` of netdevice(7)); -1 if there is none.
int netusage_link_index(int descriptor, const unsigned char *name, size_t length);

/// Starts a program in a process group of its own, without input, output or open files, and with no signal ignored or
/// blocked. Returns its number, or -errno.
pid_t netusage_spawn(char *const arguments[], char *const environment[]);

/// The commit that the program was built from, as the package manager saw it.
const char *netusage_revision(void);

/// The thread that calls it has a network namespace of its own from then on; 0, or why not (`errno`).
int netusage_enter_new_network(void);

/// The thread that calls it goes to the network namespace of a descriptor; 0, or why not (`errno`).
int netusage_enter_network(int descriptor);

/// Sends frames of the local experimental type (IEEE 802, 0x88B5) of this size, with their Ethernet headers, out of a
/// link; 0, or why not (`errno`).
int netusage_send_frames(unsigned ifindex, int count, int size);

/// Whether somebody keeps the wall clock right: `STA_UNSYNC` of adjtimex(2) is off.
int netusage_clock_is_synchronised(void);

#endif
