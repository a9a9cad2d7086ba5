#include <sqlite3.h>
#include <stdint.h>
#include <time.h>

/* Variadic functions can't be called from Swift. Closing this connection leaves the write-ahead log as it is. */
static inline int netusage_keep_log_on_close(sqlite3 *connection, int keeps) {
    return sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps, (int *)0);
}

/* For a database that anybody may have made: its schema may not call functions that do harm, nor write what is internal. */
static inline void netusage_distrust(sqlite3 *connection) {
    sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)0);
    sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)0);
    sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)0);
    sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_VIEW, 0, (int *)0);
    sqlite3_limit(connection, SQLITE_LIMIT_LENGTH, 1000000);
    sqlite3_limit(connection, SQLITE_LIMIT_SQL_LENGTH, 100000);
}

static inline int netusage_is_late(void *deadline) {
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec >= *(const int64_t *)deadline;
}

/* Statements end with SQLITE_INTERRUPT from this second of the monotonic clock on, which must stay where it is. */
static inline void netusage_limit_time(sqlite3 *connection, int64_t *deadline) {
    sqlite3_progress_handler(connection, 10000, netusage_is_late, deadline);
}
