/* SPDX-License-Identifier: MIT
 *
 * How often the library, as built for histories, took its rare steps (read_dirty.c).
 */
#ifndef SYNCMAP_TEST_YIELDING_H
#define SYNCMAP_TEST_YIELDING_H

struct history_steps {
    unsigned long promotions, builds, growths, expunged, revived;
};
struct history_steps history_steps(void);

#endif
