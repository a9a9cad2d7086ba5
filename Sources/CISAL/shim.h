#include <isa-l/igzip_lib.h>

// Swift can't read macros that calculate.
enum { netusage_level_1_buffer_bytes = ISAL_DEF_LVL1_SMALL };
