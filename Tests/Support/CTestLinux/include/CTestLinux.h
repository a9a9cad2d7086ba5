// System calls that act on one thread, for tests; Swift's module of the C library lacks them.
#ifndef NETUSAGE_CTESTLINUX_H
#define NETUSAGE_CTESTLINUX_H

#include <stdint.h>

/// Files are accessed as this user by the calling thread from here on. See setfsuid(2); returns the user before.
int test_set_file_user(uint32_t user);

/// The calling thread enters a network namespace of its own, which goes when nothing holds it any more. 0 or an errno.
int test_enter_new_network(void);

/// A descriptor of the calling thread's network namespace, or -1.
int test_open_network(void);

/// The calling thread enters this network namespace. 0 or an errno.
int test_enter_network(int descriptor);

#endif
