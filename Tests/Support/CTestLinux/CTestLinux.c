#define _GNU_SOURCE 1
#include "CTestLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/fsuid.h>

int test_set_file_user(uint32_t user) { return setfsuid(user); }

int test_enter_new_network(void) { return unshare(CLONE_NEWNET) == 0 ? 0 : errno; }

int test_open_network(void) { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

int test_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET) == 0 ? 0 : errno; }
