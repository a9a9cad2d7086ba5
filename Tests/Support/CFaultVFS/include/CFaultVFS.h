// A layer over SQLite's default VFS. At a chosen change of a file, it fails or ends the process.
#ifndef NETUSAGE_CFAULTVFS_H
#define NETUSAGE_CFAULTVFS_H

#include <stdbool.h>

/// What happens at the chosen change. A change is a write, a truncation, a sync, a deletion or new shared memory.
typedef enum {
    /// Nothing happens. Changes are only counted.
    FAULT_NONE,
    /// The change fails.
    FAULT_ONCE,
    /// The change fails, and so do all later ones.
    FAULT_FROM_THEN_ON,
    /// As if the process were killed just before the change: nothing reaches the files after that.
    FAULT_KILL,
    /// As if the power failed in the middle of the change: half of a write reaches the file, and nothing after that.
    FAULT_TORN,
} fault_mode;

typedef struct fault_vfs fault_vfs;

/// Registers a VFS with its own state under `name`, which must be unique. Only one thread at a time may use it.
fault_vfs *fault_vfs_create(const char *name);

/// Unregisters the VFS and frees its memory. No connection may use it any more.
void fault_vfs_destroy(fault_vfs *vfs);

/// Counts changes from 1 again. `mode` happens at number `at`. A change that fails has the result `code`.
void fault_vfs_arm(fault_vfs *vfs, fault_mode mode, int at, int code);

/// The changes since the last call of `fault_vfs_arm`.
int fault_vfs_changes(const fault_vfs *vfs);

/// From now on, counts the changes that happen while nobody holds a lock of the file at `path`. See flock(2).
void fault_vfs_watch_lock(fault_vfs *vfs, const char *path);
int fault_vfs_unlocked_changes(const fault_vfs *vfs);

#endif
