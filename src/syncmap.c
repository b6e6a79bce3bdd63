/* SPDX-License-Identifier: MIT
 *
 * The library, as the one unit that the build compiles: all is static but the functions of syncmap.h. From the bottom up.
 */
#include "membarrier.c"
#include "thread.c"
#include "reclaim.c"
#include "key.c"
#include "read_dirty_table.c"
#include "read_dirty.c"
#include "read_dirty_bulk.c"
#include "flat_table.c"
#include "flat_move.c"
#include "flat.c"
#include "flat_integers.c"
#include "flat_text.c"
#include "flat_walk.c"
#include "api_load.c"
#include "api_compute.c"
#include "api.c"
#include "api_quick.c"
