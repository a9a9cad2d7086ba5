#include "CFaultVFS.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct fault_vfs {
    sqlite3_vfs base;  // Must be first: SQLite's pointer to it is cast to the whole structure.
    sqlite3_vfs *real;
    fault_mode mode;
    int at;
    int code;
    int changes;
    char *lock_path;
    int unlocked_changes;
};

typedef struct {
    sqlite3_file base;
    fault_vfs *vfs;
    sqlite3_file *real;  // Its memory is right behind this structure.
} fault_file;

static fault_vfs *vfs_of(sqlite3_vfs *vfs) { return (fault_vfs *)vfs; }
static fault_vfs *state_of(sqlite3_file *file) { return ((fault_file *)file)->vfs; }
static sqlite3_file *real_of(sqlite3_file *file) { return ((fault_file *)file)->real; }

static void watch_lock(fault_vfs *vfs) {
    int descriptor = open(vfs->lock_path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) vfs->unlocked_changes++;
    close(descriptor);
}

/// Counts a change. Returns SQLITE_OK, or the error with which the change fails.
static int change(fault_vfs *vfs) {
    vfs->changes++;
    if (vfs->lock_path) watch_lock(vfs);
    switch (vfs->mode) {
        case FAULT_NONE: return SQLITE_OK;
        case FAULT_ONCE: return vfs->changes == vfs->at ? vfs->code : SQLITE_OK;
        case FAULT_FROM_THEN_ON:
        case FAULT_KILL:
        case FAULT_TORN: return vfs->changes >= vfs->at ? vfs->code : SQLITE_OK;
    }
    return SQLITE_OK;
}

static int file_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    fault_vfs *vfs = state_of(file);
    int result = change(vfs);
    if (result == SQLITE_OK) return real_of(file)->pMethods->xWrite(real_of(file), bytes, count, offset);
    if (vfs->mode == FAULT_TORN && vfs->changes == vfs->at && count > 1) {
        real_of(file)->pMethods->xWrite(real_of(file), bytes, count / 2, offset);
    }
    return result;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int result = change(state_of(file));
    return result ? result : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

/// Doesn't really sync: the same kernel reads the files again, and the tests take a tenth of the time.
static int file_sync(sqlite3_file *file, int flags) {
    (void)flags;
    return change(state_of(file));
}

static int file_shared_memory(sqlite3_file *file, int page, int size, int extend, void volatile **memory) {
    if (extend) {
        int result = change(state_of(file));
        if (result) return result;
    }
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, memory);
}

// The other calls go to the default VFS.

static int file_close(sqlite3_file *file) { return real_of(file)->pMethods->xClose(real_of(file)); }

static int file_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
    return real_of(file)->pMethods->xRead(real_of(file), bytes, count, offset);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level) { return real_of(file)->pMethods->xLock(real_of(file), level); }

static int file_unlock(sqlite3_file *file, int level) { return real_of(file)->pMethods->xUnlock(real_of(file), level); }

static int file_check_reserved_lock(sqlite3_file *file, int *result) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), result);
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file) { return real_of(file)->pMethods->xSectorSize(real_of(file)); }

static int file_characteristics(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shared_lock(sqlite3_file *file, int offset, int count, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void file_shared_barrier(sqlite3_file *file) { real_of(file)->pMethods->xShmBarrier(real_of(file)); }

static int file_shared_unmap(sqlite3_file *file, int deletes) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), deletes);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,  // Version 2 has no memory-mapped pages: SQLite would change them without a call of this layer.
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shared_memory,
    .xShmLock = file_shared_lock,
    .xShmBarrier = file_shared_barrier,
    .xShmUnmap = file_shared_unmap,
};

static int vfs_open(sqlite3_vfs *base, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
    fault_vfs *vfs = vfs_of(base);
    fault_file *opened = (fault_file *)file;
    opened->base.pMethods = NULL;
    opened->vfs = vfs;
    opened->real = (sqlite3_file *)(opened + 1);
    int result = vfs->real->xOpen(vfs->real, name, opened->real, flags, out_flags);
    if (result == SQLITE_OK) opened->base.pMethods = &methods;
    return result;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int syncs) {
    int result = change(vfs_of(base));
    return result ? result : vfs_of(base)->real->xDelete(vfs_of(base)->real, name, syncs);
}

fault_vfs *fault_vfs_create(const char *name) {
    fault_vfs *vfs = calloc(1, sizeof(fault_vfs));
    if (!vfs) return NULL;
    vfs->real = sqlite3_vfs_find(NULL);
    // Calls that aren't replaced use the default VFS's own data: `pAppData` still points to that.
    vfs->base = *vfs->real;
    vfs->base.zName = strdup(name);
    vfs->base.pNext = NULL;
    vfs->base.szOsFile = (int)sizeof(fault_file) + vfs->real->szOsFile;
    vfs->base.xOpen = vfs_open;
    vfs->base.xDelete = vfs_delete;
    sqlite3_vfs_register(&vfs->base, 0);
    return vfs;
}

void fault_vfs_destroy(fault_vfs *vfs) {
    sqlite3_vfs_unregister(&vfs->base);
    free((char *)vfs->base.zName);
    free(vfs->lock_path);
    free(vfs);
}

void fault_vfs_arm(fault_vfs *vfs, fault_mode mode, int at, int code) {
    vfs->mode = mode;
    vfs->at = at;
    vfs->code = code;
    vfs->changes = 0;
}

int fault_vfs_changes(const fault_vfs *vfs) { return vfs->changes; }

void fault_vfs_watch_lock(fault_vfs *vfs, const char *path) {
    free(vfs->lock_path);
    vfs->lock_path = strdup(path);
    vfs->unlocked_changes = 0;
}

int fault_vfs_unlocked_changes(const fault_vfs *vfs) { return vfs->unlocked_changes; }
