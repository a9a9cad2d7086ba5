#include "CLinux.h"

#ifndef NETUSAGE_REVISION
#define NETUSAGE_REVISION "unknown"
#endif

const char *netusage_revision(void) {
    return NETUSAGE_REVISION;
}
