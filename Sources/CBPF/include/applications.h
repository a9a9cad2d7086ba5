#ifndef NETUSAGE_APPLICATIONS_H
#define NETUSAGE_APPLICATIONS_H

// What the kernel programs and the daemon both know: keys and values of the maps.
// Raise NETUSAGE_LAYOUT with each change of them: a daemon leaves maps of another layout alone.

#include <linux/types.h>

#define NETUSAGE_LAYOUT 3

enum netusage_scope {
    NETUSAGE_INTERNET = 0,
    NETUSAGE_LAN = 1,
    NETUSAGE_TUNNEL = 2,
    /// Not counted: loopback, and subnets of this machine's own bridges.
    NETUSAGE_INSIDE = 3,
    /// Of lanes only: not IP.
    NETUSAGE_NOT_IP = 4,
};

/// TASK_COMM_LEN of linux/sched.h.
#define NETUSAGE_COMM 16

/// Whose bytes they are, and where they go.
struct netusage_count_key {
    /// 0 in the keys that take what doesn't fit.
    __u64 cgroup;
    /// The name of the thread group's leader.
    char comm[NETUSAGE_COMM];
    __u8 transmitted;
    __u8 scope;
    /// Whether the socket is in another network namespace.
    __u8 foreign;
    /// Whether the bytes pass a device that is the uplink. Of sockets in other namespaces nobody knows it.
    __u8 uplink;
    __u8 unused[4];
};

struct netusage_count {
    /// As on the cable, link headers included.
    __u64 bytes;
    /// How many of them are headers that a merged packet carries once.
    __u64 saved;
};

#define NETUSAGE_PLACE_LEVELS 10

/// Where a cgroup lies.
struct netusage_place {
    /// Its UTS namespace's node name.
    char host[64];
    /// Its own name, and those of the cgroups above it.
    char names[NETUSAGE_PLACE_LEVELS][96];
    /// How many names there are.
    __u32 levels;
    /// Whether all of it is written.
    __u32 complete;
};

/// Where the programs run.
struct netusage_host {
    /// The cookie of the network namespace whose devices are metered.
    __u64 network;
    /// The root of the cgroups: in a container, its own.
    __u64 cgroup;
};

enum netusage_device_kind {
    NETUSAGE_DEVICE_NORMAL = 0,
    NETUSAGE_DEVICE_TUNNEL = 2,
};

/// By the index of a device.
struct netusage_device {
    __u8 kind;
    /// Bytes of its link-layer header.
    __u8 link_header;
    __u8 uplink;
    __u8 unused;
};

/// Addresses; IPv4 ones as ::ffff:a.b.c.d.
struct netusage_prefix {
    __u32 bits;
    __u8 address[16];
};

struct netusage_lane_key {
    __u32 device;
    __u8 transmitted;
    __u8 scope;
    __u16 unused;
};

struct netusage_lane {
    /// As on the cable.
    __u64 wire;
    /// As the stack sees it: a merged packet has one header.
    __u64 merged;
};

struct netusage_state {
    /// Random: one attachment.
    __u64 attachment;
    __u64 layout;
    /// When it was made, in nanoseconds since boot.
    __u64 attached_at;
    /// Packets counted by a key that takes what doesn't fit.
    __u64 overflowed;
    /// Of which programs it is: a number made of their bytes.
    __u64 object;
};

#endif
