/* SPDX-License-Identifier: MIT
 *
 * The library under the scheduler, and what a run does to it beside calls of syncmap.h.
 */
#ifndef SYNCMAP_MODEL_LIBRARY_H
#define SYNCMAP_MODEL_LIBRARY_H

#include <stdbool.h>

struct syncmap;

/* Once, first of all. */
void library_begin(void);
/* All variables of the library as at the start of the process. */
void library_reset(void);
/* As if a bucket of a flat map were flooded: it begins to be moved with other secrets, if it is not being moved, and nobody walks. */
void library_reseed(struct syncmap *map);
/* Threads that get no memory for a record from now on, a bit for each. */
void library_refuse_records(unsigned threads);
/* Whether tables get filters from now on. */
void library_filter(bool wanted);
/* The running thread's record. */
void library_thread_attach(void);
/* What the system does at the end of a thread: calls the destructor in rounds, while it asks for one. */
void library_thread_exit(void);

#endif
