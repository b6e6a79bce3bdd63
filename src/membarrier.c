/* SPDX-License-Identifier: MIT
 *
 * The heavy side of the asymmetric fence. The essay is in membarrier.h.
 */
#include "membarrier.h"

static _Atomic(struct membarrier_cell *) membarrier_cells; /* all that joined; only the checked form walks it */

static void membarrier_init(void)
{
    long commands = platform_membarrier(MEMBARRIER_QUERY);
    bool expedited = commands > 0 && (commands & MEMBARRIER_EXPEDITED) && platform_membarrier(MEMBARRIER_REGISTER) == 0;
    st_release(&membarrier_expedited, expedited); /* P1: a light() that sees it finds the process registered */
}

static void membarrier_join(struct membarrier_cell *cell)
{
    struct membarrier_cell *head = ld_relaxed(&membarrier_cells); /* relaxed: the CAS checks it */
    do
        cell->next = head;
    while (!cas_acq_rel(&membarrier_cells, &head, cell)); /* P1: behind every heavy() that did not find the cell */
}

static bool membarrier_heavy_checked(void)
{
    struct membarrier_cell *head = ld_acquire(&membarrier_cells); /* P1: the cells' links */
    while (!cas_acq_rel(&membarrier_cells, &head, head)) /* P1: it changes nothing, but a later join reads from it */
        continue;
    for (struct membarrier_cell *cell = head; cell; cell = cell->next)
        add_acq_rel(&cell->touched, 1); /* P1 */
    return true;
}

static bool membarrier_heavy(void)
{
    if (CHECKED_FENCES)
        return membarrier_heavy_checked();
    if (ld_acquire(&membarrier_expedited)) /* P1: decided before the first thread was attached */
        return platform_membarrier(MEMBARRIER_EXPEDITED) == 0;
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}
