// libbpf, the layout of the kernel programs' maps, and what Swift can't import.
#ifndef NETUSAGE_CBPF_H
#define NETUSAGE_CBPF_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/types.h>

#include "applications.h"

// linux/bpf.h since 6.6; Debian's header may be older than the kernel.
enum {
    netusage_tcx_ingress = 46,
    netusage_tcx_egress = 47,
};

/// From here on, what libbpf reports is kept and not printed.
void netusage_keep_reports(void);

/// What libbpf has reported since, as far as there was room.
const char *netusage_kept_reports(void);

/// Becomes another user, and keeps these capabilities only (bits, capabilities(7)). Returns 0 or an `errno`.
///
/// For a process with one thread. With a `user` of 0 the user stays.
int netusage_keep_capabilities(uid_t user, gid_t group, unsigned long long capabilities);

/// The capabilities in force (`CapEff` of proc(5)), as bits.
unsigned long long netusage_effective_capabilities(void);

/// Attaches a link to a thing with a descriptor, such as a cgroup or a device's number; -1 with errno.
int netusage_attach(int program, int target, int attach_type);

/// What a map is, by `BPF_OBJ_GET_INFO_BY_FD` of bpf(2): the sizes of its keys and values.
struct netusage_map_shape {
    __u32 key_bytes;
    __u32 value_bytes;
};

/// Returns 0, or -1 with errno.
int netusage_map_shape(int map, struct netusage_map_shape *shape);

#endif
