#define _GNU_SOURCE 1
#include "CBPF.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static char reports[8192];
static size_t length;

static int keep(enum libbpf_print_level level, const char *format, va_list arguments) {
    if (level > LIBBPF_WARN || length >= sizeof reports - 1) return 0;
    int count = vsnprintf(reports + length, sizeof reports - length, format, arguments);
    if (count > 0) length += (size_t)count;
    if (length > sizeof reports - 1) length = sizeof reports - 1;
    return count;
}

void netusage_keep_reports(void) {
    length = 0;
    reports[0] = 0;
    libbpf_set_print(keep);
}

const char *netusage_kept_reports(void) { return reports; }

unsigned long long netusage_effective_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) != 0) return 0;
    return (unsigned long long)data[1].effective << 32 | data[0].effective;
}

int netusage_keep_capabilities(uid_t user, gid_t group, unsigned long long capabilities) {
    capabilities &= netusage_effective_capabilities();
    if (user != 0) {
        if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, NULL) != 0 || setresgid(group, group, group) != 0
            || setresuid(user, user, user) != 0)
            return errno;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
        data[word].effective = data[word].permitted = (unsigned)(capabilities >> (32 * word));
    }
    if (syscall(SYS_capset, &header, data) != 0) return errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
}

int netusage_attach(int program, int target, int attach_type) {
    int link = bpf_link_create(program, target, (enum bpf_attach_type)attach_type, NULL);
    if (link >= 0) return link;
    errno = -link;
    return -1;
}

int netusage_map_shape(int map, struct netusage_map_shape *shape) {
    struct bpf_map_info info;
    memset(&info, 0, sizeof info);
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return -1;
    *shape = (struct netusage_map_shape){info.key_size, info.value_size};
    return 0;
}
