#include <sqlite3.h>

/* Variadic functions can't be called from Swift. Closing this connection leaves the write-ahead log as it is. */
static inline int netusage_keep_log_on_close(sqlite3 *connection, int keeps) {
    return sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps, (int *)0);
}
