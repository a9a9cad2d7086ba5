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
#include <sys/vfs.h>
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

/// The clock that counts from boot, read from the kernel itself: programs that fake clocks can't change it.
static inline int64_t netusage_boot_nanoseconds(void) {
    struct timespec time = {0, 0};
    syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/// Waits for a semaphore until a moment of the monotonic clock (sem_clockwait(3), an extension of glibc's).
///
/// Returns 0, or -1 with `errno`: ETIMEDOUT, EINTR.
int netusage_semaphore_wait(void *semaphore, const struct timespec *deadline);

/// Pins a thread (a `pthread_t`) to the caller's processor, unless it is pinned to that already (`last`).
///
/// Returns the processor's number, or `last` if nothing changed, because the system doesn't allow it
/// (sched_setaffinity(2)) or the processor isn't known.
int netusage_keep_beside_me(unsigned long thread, int last);

/// Unpins a thread: it may run wherever the caller may.
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

/// Opens the entry of a path, even a link itself, only to look at it (`O_PATH | O_NOFOLLOW` of open(2)); -1 with errno.
int netusage_open_entry(const char *path);

/// Lets only messages about default routes through: `rtm_dst_len`, the second byte of `struct rtmsg`, is 0.
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

/// Turns SIGTERM, SIGINT and SIGHUP into bytes, their numbers, that a pipe delivers.
///
/// A signalfd(2) would need them blocked in every thread, but libdispatch waits on the main thread with none blocked.
/// Call it once. Returns the end to read from, or -1 with errno.
int netusage_signal_pipe(void);

/// Gives back pages of code that only the start needed; pages that are needed again are mapped from the page cache.
void netusage_release_startup_code(void);

/// Whether a password gives this hash, in any of the methods of crypt(5); bcrypt takes a tenth of a second or more.
_Bool netusage_password_matches(const char *password, const char *hash);

/// The number of the link with a name in a socket's namespace (`SIOCGIFINDEX` of netdevice(7)); -1 if there is none.
int netusage_link_index(int descriptor, const unsigned char *name, size_t length);

/// Starts a program in a process group of its own, without input, output or open files, and with no signal ignored or
/// blocked. Returns its number, or -errno.
pid_t netusage_spawn(char *const arguments[], char *const environment[]);

/// Starts a program as the calling one was started, but with one open file more: `descriptor`, as number 3. Standard input
/// and output are /dev/null; standard error is the caller's. Returns its number, or -errno.
pid_t netusage_spawn_with(char *const arguments[], char *const environment[], int descriptor);

/// Sends bytes with descriptors (SCM_RIGHTS of unix(7), 32 at most) over a connected Unix socket. Returns 0 or an `errno`.
int netusage_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, int count);

/// Receives bytes and up to 32 descriptors, which are closed when a program is started.
///
/// `count` is how many came. Returns the number of bytes, 0 at the end, or -errno.
ssize_t netusage_receive_descriptors(int socket, void *bytes, size_t length, int *descriptors, int *count);

/// The commit that the program was built from, as the package manager saw it.
const char *netusage_revision(void);

/// Moves the calling thread to a new network namespace. Returns 0 or an `errno`.
int netusage_enter_new_network(void);

/// Moves the calling thread to the network namespace of a descriptor. Returns 0 or an `errno`.
int netusage_enter_network(int descriptor);

/// Sends frames of the local experimental type (IEEE 802, 0x88B5) of this size, with their Ethernet headers, out of a
/// link. Returns 0 or an `errno`.
int netusage_send_frames(unsigned ifindex, int count, int size);

/// Whether the wall clock is synchronised: `STA_UNSYNC` of adjtimex(2) is off.
int netusage_clock_is_synchronised(void);

#endif
