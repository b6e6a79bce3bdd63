/* SPDX-License-Identifier: MIT
 *
 * Adapter: liburcu's cds_lfht with RCU by membarrier(2): a read section costs two plain stores, and a registered
 * thread may do as it likes outside of them. The read section is compiled in line, as liburcu offers it.
 */
#ifndef ADAPTER_LFHT_MEMB_H
#define ADAPTER_LFHT_MEMB_H

#define MAP_NAME "cds_lfht memb"
#define LFHT_QSBR 0
#define _LGPL_SOURCE
#define URCU_API_MAP
#include <urcu/urcu-memb.h>

#include "lfht.h"

#endif
