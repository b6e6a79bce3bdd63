/* SPDX-License-Identifier: MIT
 *
 * Adapter: syncmap with the engine flat.
 */
#define SYNCMAP_BENCH_ENGINE SYNCMAP_ENGINE_FLAT
#define MAP_NAME "syncmap flat"
#include "adapters/read_dirty.h"
