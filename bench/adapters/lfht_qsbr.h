/* SPDX-License-Identifier: MIT
 *
 * Adapter: liburcu's cds_lfht with RCU by quiescent states: a read section costs nothing, and each registered thread has to
 * say from time to time that it is in none (map_tick), and to go offline while it waits (map_idle).
 */
#ifndef ADAPTER_LFHT_QSBR_H
#define ADAPTER_LFHT_QSBR_H

#define MAP_NAME "cds_lfht qsbr"
#define LFHT_QSBR 1
#define _LGPL_SOURCE
#define URCU_API_MAP
#include <urcu/urcu-qsbr.h>

#include "lfht.h"

#endif
