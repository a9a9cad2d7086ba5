// System calls for tests that act on one thread. Swift's module of the C library doesn't have them.
#ifndef NETUSAGE_CTESTLINUX_H
#define NETUSAGE_CTESTLINUX_H

#include <stdint.h>

/// From now on, the calling thread accesses files as this user. Returns the previous user. See setfsuid(2).
int test_set_file_user(uint32_t user);

/// The calling thread enters a new network namespace. The kernel deletes it after its last use. Returns 0 or an errno.
int test_enter_new_network(void);

/// Returns a descriptor of the calling thread's network namespace, or -1.
int test_open_network(void);

/// The calling thread enters this network namespace. Returns 0 or an errno.
int test_enter_network(int descriptor);

#endif
