/* SPDX-License-Identifier: MIT
 *
 * The library with yield_atomics.h behind its atomics, and a window to its counts of rare steps.
 */
#include "syncmap.c"

#include "history/yielding.h"

struct history_steps history_steps(void)
{
    return (struct history_steps){
        .promotions = debug_counts.promotions,
        .builds = debug_counts.builds,
        .growths = debug_counts.growths,
        .expunged = debug_counts.expunged,
        .revived = debug_counts.revived,
    };
}
