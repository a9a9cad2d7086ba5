// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
//
// Counts what each application sends and receives. It never drops or refuses anything.

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "applications.h"

char terms[] SEC("license") = "Dual BSD/GPL";

// MARK: - What is read of the kernel's own structures. The loader finds their members on the running kernel.

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
    __u64 id;
    const char *name;
};

struct cgroup;

struct cgroup_subsys_state {
    struct cgroup_subsys_state *parent;
};

struct cgroup {
    struct cgroup_subsys_state self;
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
};

struct new_utsname {
    char nodename[65];
};

struct uts_namespace {
    struct new_utsname name;
};

struct nsproxy {
    struct uts_namespace *uts_ns;
};

struct task_struct {
    struct task_struct *group_leader;
    char comm[NETUSAGE_COMM];
    int tgid;
    struct css_set *cgroups;
    struct nsproxy *nsproxy;
};

struct net {
    __u64 net_cookie;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct sock_common {
    unsigned short skc_family;
    possible_net_t skc_net;
};

struct sock_cgroup_data {
    struct cgroup *cgroup;
};

struct sock {
    struct sock_common __sk_common;
    struct sock_cgroup_data sk_cgrp_data;
};

struct socket {
    struct sock *sk;
};

struct file;

struct bpf_iter_meta;

struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    __u32 fd;
    struct file *file;
};

#pragma clang attribute pop

// MARK: - Constants of the kernel

#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2
#define PACKET_LOOPBACK 5
#define BPF_TCP_ESTABLISHED_STATE 1
#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP 6
#define LOOPBACK_INDEX 1
#define ETHERNET_HEADER 14
#define TCX_NEXT (-1)

// MARK: - Maps

/// Whose a socket is, and the last remote address's scope.
struct owner {
    __u64 cgroup;
    char comm[NETUSAGE_COMM];
    __u64 version;
    __u32 device;
    __u8 scope;
    __u8 foreign;
    __u16 unused;
    __u32 remote[4];
};

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, struct owner);
} netusage_owners SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct netusage_count_key);
    __type(value, struct netusage_count);
} netusage_counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, __u64);
    __type(value, struct netusage_place);
} netusage_places SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, struct netusage_device);
} netusage_devices SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1024);
    __type(key, struct netusage_prefix);
    __type(value, __u8);
} netusage_prefixes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 256);
    __type(key, struct netusage_lane_key);
    __type(value, struct netusage_lane);
} netusage_lanes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct netusage_state);
} netusage_state SEC(".maps");

/// In a section of its own, where the loader writes it.
const volatile struct netusage_host host SEC(".rodata.host") = {};

/// Raised whenever `devices` or `prefixes` changed.
volatile __u64 version = 1;

static const struct netusage_place no_place = {};

static void note_overflow(void) {
    __u32 zero = 0;
    struct netusage_state *state = bpf_map_lookup_elem(&netusage_state, &zero);
    if (state) __sync_fetch_and_add(&state->overflowed, 1);
}

// MARK: - Owners

/// Writes down where a cgroup lies, while it is certain to exist.
static void note_place(struct cgroup *cgroup, __u64 id, struct task_struct *task) {
    if (bpf_map_lookup_elem(&netusage_places, &id)) return;
    bpf_map_update_elem(&netusage_places, &id, &no_place, BPF_NOEXIST);
    struct netusage_place *place = bpf_map_lookup_elem(&netusage_places, &id);
    if (!place) return;
    bpf_probe_read_kernel_str(
        place->host, sizeof place->host, &BPF_CORE_READ(task, nsproxy, uts_ns)->name.nodename);
    int level = 0;
    for (; level < NETUSAGE_PLACE_LEVELS && cgroup; level++) {
        // In a container the names above it say nothing of what runs in it.
        if (BPF_CORE_READ(cgroup, kn, id) == host.cgroup) {
            level++;
            break;
        }
        bpf_probe_read_kernel_str(place->names[level], sizeof place->names[level], BPF_CORE_READ(cgroup, kn, name));
        // A cgroup begins with its own state.
        cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
    }
    place->levels = level;
    place->complete = 1;
}

/// The task owns the socket from here on.
static void describe(struct owner *owner, struct task_struct *task, struct cgroup *cgroup, __u8 foreign) {
    __u64 id = BPF_CORE_READ(cgroup, kn, id);
    // Zeros behind the name: it is a part of keys.
    char comm[NETUSAGE_COMM] = {};
    BPF_CORE_READ_STR_INTO(&comm, task, group_leader, comm);
    // Without any name it would pass as the kernel's.
    if (!comm[0]) comm[0] = '?';
    owner->cgroup = id;
    __builtin_memcpy(owner->comm, comm, sizeof comm);
    owner->foreign = foreign;
    note_place(cgroup, id, task);
}

static void describe_by_caller(struct bpf_sock *sk, __u8 foreign) {
    struct owner *owner = bpf_sk_storage_get(&netusage_owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!owner) return;
    struct task_struct *task = bpf_get_current_task_btf();
    describe(owner, task, BPF_CORE_READ(task, cgroups, dfl_cgrp), foreign);
}

SEC("cgroup/sock_create")
int netusage_create(struct bpf_sock *sk) {
    describe_by_caller(sk, bpf_get_netns_cookie(sk) != host.network);
    return 1;
}

// Who connects a socket owns it: a parent may have made it, or the process may have been moved to its cgroup since.

static int connects(struct bpf_sock_addr *context) {
    struct bpf_sock *sk = context->sk;
    if (sk) describe_by_caller(sk, bpf_get_netns_cookie(context) != host.network);
    return 1;
}

SEC("cgroup/connect4")
int netusage_conn4(struct bpf_sock_addr *context) { return connects(context); }

SEC("cgroup/connect6")
int netusage_conn6(struct bpf_sock_addr *context) { return connects(context); }

/// Sockets that are older than these programs belong to who has them open.
SEC("iter/task_file")
int netusage_find(struct bpf_iter__task_file *context) {
    struct task_struct *task = context->task;
    struct file *file = context->file;
    if (!task || !file) return 0;
    struct socket *socket = bpf_sock_from_file(file);
    if (!socket) return 0;
    struct sock *sk = socket->sk;
    if (!sk) return 0;
    unsigned short family = sk->__sk_common.skc_family;
    if (family != AF_INET && family != AF_INET6) return 0;
    struct owner *owner = bpf_sk_storage_get(&netusage_owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!owner) return 0;
    // systemd keeps the sockets of its socket units open, too.
    if (task->tgid == 1 && owner->cgroup) return 0;
    describe(
        owner, task, sk->sk_cgrp_data.cgroup, BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie) != host.network);
    return 0;
}

// MARK: - Packets

/// What a packet's headers say.
struct packet {
    /// The other end; IPv4 as ::ffff:a.b.c.d.
    __u32 remote[4];
    /// Bytes of the headers from IP to TCP or UDP.
    __u32 headers;
};

/// Reads the headers of the IP packet that lies `offset` bytes into the buffer.
///
/// Returns whether it is one.
static __always_inline int parse(struct __sk_buff *skb, __u32 offset, int transmitted, struct packet *packet) {
    void *start = (void *)(long)skb->data + offset;
    void *end = (void *)(long)skb->data_end;
    __u8 *bytes = start;
    __u8 next;
    __u32 ip;
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        if (start + 20 > end) return 0;
        ip = (bytes[0] & 15) * 4;
        next = bytes[9];
        packet->remote[0] = 0;
        packet->remote[1] = 0;
        packet->remote[2] = bpf_htonl(0xFFFF);
        packet->remote[3] = *(__u32 *)(start + (transmitted ? 16 : 12));
    } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
        if (start + 40 > end) return 0;
        ip = 40;
        next = bytes[6];
        // The kernel puts this header before merged packets of more than 64 KiB, and takes it off again.
        if (next == IPPROTO_HOPOPTS && start + 48 <= end && bytes[41] == 0) {
            ip = 48;
            next = bytes[40];
        }
        __builtin_memcpy(packet->remote, start + (transmitted ? 24 : 8), 16);
    } else {
        return 0;
    }
    packet->headers = ip + 8;
    __u8 *tcp = start + ip;
    if (next == IPPROTO_TCP && (void *)tcp + 13 <= end) packet->headers = ip + (tcp[12] >> 4) * 4;
    return 1;
}

/// In how many packets a merged one lies on the cable: the kernel's own number is missing on some devices.
static __always_inline __u32 segments(struct __sk_buff *skb, __u32 link_header, __u32 headers) {
    __u32 size = skb->gso_size;
    __u32 length = skb->len - link_header;
    if (size == 0 || length <= headers) return 1;
    return (length - headers + size - 1) / size;
}

static __always_inline __u8 scope_of(struct __sk_buff *skb, const struct packet *packet) {
    if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST) return NETUSAGE_LAN;
    struct netusage_prefix prefix = {.bits = 128};
    __builtin_memcpy(prefix.address, packet->remote, 16);
    __u8 *scope = bpf_map_lookup_elem(&netusage_prefixes, &prefix);
    return scope ? *scope : NETUSAGE_INTERNET;
}

static __always_inline void add(struct netusage_count_key *key, __u64 bytes, __u64 saved) {
    struct netusage_count *count = bpf_map_lookup_elem(&netusage_counts, key);
    if (!count) {
        struct netusage_count none = {};
        bpf_map_update_elem(&netusage_counts, key, &none, BPF_NOEXIST);
        count = bpf_map_lookup_elem(&netusage_counts, key);
    }
    if (!count) {
        note_overflow();
        key->cgroup = 0;
        __builtin_memset(key->comm, 0, sizeof key->comm);
        count = bpf_map_lookup_elem(&netusage_counts, key);
        if (!count) return;
    }
    // A packet may come in while one is sent on the same processor.
    __sync_fetch_and_add(&count->bytes, bytes);
    if (saved) __sync_fetch_and_add(&count->saved, saved);
}

static __always_inline int count(struct __sk_buff *skb, int transmitted) {
    __u32 index = skb->ifindex;
    if (index == LOOPBACK_INDEX) return 1;
    struct bpf_sock *sk = skb->sk;
    if (sk) sk = bpf_sk_fullsock(sk);
    if (!sk) return 1;
    // Each raw socket gets a copy, and multicast that loops back was sent by this machine.
    if (!transmitted && (sk->type == SOCK_RAW || skb->pkt_type == PACKET_LOOPBACK)) return 1;
    struct packet packet;
    if (!parse(skb, 0, transmitted, &packet)) return 1;
    struct owner *owner = bpf_sk_storage_get(&netusage_owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!owner) return 1;
    if (!owner->cgroup) owner->cgroup = bpf_sk_cgroup_id(sk);

    __u32 link_header = ETHERNET_HEADER;
    struct netusage_device *device = 0;
    if (!owner->foreign) device = bpf_map_lookup_elem(&netusage_devices, &index);
    if (device) link_header = device->link_header;
    __u8 uplink = device && device->uplink;

    __u8 scope;
    __u64 current = version;
    if (device && device->kind != NETUSAGE_DEVICE_NORMAL) {
        scope = device->kind;
    } else if (
        owner->version == current && owner->device == index && owner->remote[3] == packet.remote[3]
        && owner->remote[2] == packet.remote[2] && owner->remote[1] == packet.remote[1]
        && owner->remote[0] == packet.remote[0]) {
        scope = owner->scope;
    } else {
        scope = scope_of(skb, &packet);
        // Only a connected socket (TCP or UDP) has one remote end. Others may be used by two processors for two.
        if (sk->state == BPF_TCP_ESTABLISHED_STATE) {
            __builtin_memcpy(owner->remote, packet.remote, 16);
            owner->device = index;
            owner->scope = scope;
            owner->version = current;
        }
    }
    if (scope == NETUSAGE_INSIDE) return 1;

    __u32 number = segments(skb, 0, packet.headers);
    __u64 saved = (__u64)(number - 1) * (packet.headers + link_header);
    struct netusage_count_key key = {
        .cgroup = owner->cgroup,
        .transmitted = transmitted,
        .scope = scope,
        .foreign = owner->foreign,
        .uplink = uplink,
    };
    __builtin_memcpy(key.comm, owner->comm, sizeof key.comm);
    add(&key, skb->len + saved + link_header, saved);
    return 1;
}

SEC("cgroup_skb/egress")
int netusage_send(struct __sk_buff *skb) { return count(skb, 1); }

SEC("cgroup_skb/ingress")
int netusage_recv(struct __sk_buff *skb) { return count(skb, 0); }

// MARK: - Lanes: all that passes an uplink

static __always_inline int pass(struct __sk_buff *skb, int transmitted) {
    __u32 index = skb->ifindex;
    __u32 link_header = ETHERNET_HEADER;
    struct netusage_device *device = bpf_map_lookup_elem(&netusage_devices, &index);
    if (device) link_header = device->link_header;
    struct netusage_lane_key key = {.device = index, .transmitted = transmitted, .scope = NETUSAGE_NOT_IP};
    struct packet packet;
    __u64 saved = 0;
    if (parse(skb, link_header, transmitted, &packet)) {
        key.scope = scope_of(skb, &packet);
        __u32 number = segments(skb, link_header, packet.headers);
        saved = (__u64)(number - 1) * (packet.headers + link_header);
    }
    struct netusage_lane *lane = bpf_map_lookup_elem(&netusage_lanes, &key);
    if (!lane) {
        struct netusage_lane none = {};
        bpf_map_update_elem(&netusage_lanes, &key, &none, BPF_NOEXIST);
        lane = bpf_map_lookup_elem(&netusage_lanes, &key);
        if (!lane) return TCX_NEXT;
    }
    __sync_fetch_and_add(&lane->wire, skb->len + saved);
    __sync_fetch_and_add(&lane->merged, skb->len);
    return TCX_NEXT;
}

SEC("tc")
int netusage_leave(struct __sk_buff *skb) { return pass(skb, 1); }

SEC("tc")
int netusage_arrive(struct __sk_buff *skb) { return pass(skb, 0); }
