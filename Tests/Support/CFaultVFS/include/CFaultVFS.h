// A layer over SQLite's default VFS that fails, or dies, at a chosen change of a file.
#ifndef NETUSAGE_CFAULTVFS_H
#define NETUSAGE_CFAULTVFS_H

#include <stdbool.h>

/// What happens at the chosen change: a write, a truncation, a sync, a deletion or a new piece of shared memory.
typedef enum {
    /// Nothing; changes are only counted.
    FAULT_NONE,
    /// That one fails.
    FAULT_ONCE,
    /// That one and all later ones fail.
    FAULT_FROM_THEN_ON,
    /// The process is killed just before it: nothing reaches the files any more.
    FAULT_KILL,
    /// The power goes in the middle of it: half of a write reaches the file, and nothing after.
    FAULT_TORN,
} fault_mode;

typedef struct fault_vfs fault_vfs;

/// A VFS of its own state, registered under `name`, which must be unique. To be used by one thread at a time.
fault_vfs *fault_vfs_create(const char *name);

/// No connection may be open with it any more.
void fault_vfs_destroy(fault_vfs *vfs);

/// Counts changes anew; at number `at`, from 1 on, `mode` happens, and what fails does so with the result `code`.
void fault_vfs_arm(fault_vfs *vfs, fault_mode mode, int at, int code);

/// The changes since the last call of `fault_vfs_arm`.
int fault_vfs_changes(const fault_vfs *vfs);

/// From here on it is counted how many changes happen while nobody holds a lock, by flock(2), of the file at `path`.
void fault_vfs_watch_lock(fault_vfs *vfs, const char *path);
int fault_vfs_unlocked_changes(const fault_vfs *vfs);

#endif
