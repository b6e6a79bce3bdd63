/* SPDX-License-Identifier: MIT
 *
 * The phase memory: bytes per entry, as the kernel counts the pages that the process has. By the main thread alone, with
 * keys made as they are needed; it says something only as the first and only phase of a process.
 */
#ifndef BENCH_RUN_MEMORY_H
#define BENCH_RUN_MEMORY_H

#include "run_frame.h"
#include "run_work.h"

#include <malloc.h>

#define EMPTY_MAPS 1000
#define EMPTY_BYTES_MOST 1e8

/* A figure in bytes from a file of the kernel's with lines such as "Rss:  1234 kB". */
static double kernel_figure(const char *path, const char *name)
{
    FILE *file = fopen(path, "r");
    char line[256];
    unsigned long long kilobytes;

    if (!file) {
        die("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0 && sscanf(line + strlen(name), "%llu", &kilobytes) == 1) {
            fclose(file);
            return (double)kilobytes * 1024;
        }
    }
    die("%s: no line %s", path, name);
}

/* What the process has in memory, exactly; /proc/self/status and statm may be off by some pages for each processor. */
static double resident(void)
{
    return kernel_figure("/proc/self/smaps_rollup", "Rss:");
}

/* The same after all that can be given back is given back, and after threads of the map's own have come to rest. */
static double resident_at_rest(map_type *map)
{
    double now, before = -1;

    map_quiesce(map);
    malloc_trim(0);
    map_idle(map);
    for (int i = 0; i < 200 && (now = resident()) != before; i++) {
        before = now;
        sleep_seconds(0.02);
    }
    map_busy(map);
    map_quiesce(map);
    malloc_trim(0);
    return resident();
}

/* Makes a draw of key number i, in one buffer. */
static bench_draw draw_in_passing(uint64_t i)
{
    static char text[STRING_STRIDE];

#ifdef KEYS_STRING
    string_write(text, i);
#endif
    return draw_of(i, text);
}

static void memory_fill(map_type *map, uint64_t n)
{
    uint64_t value;

    for (uint64_t i = 0; i < n; i++) {
        bench_draw draw = draw_in_passing(i);

        if (map_load_or_store(map, draw_key(draw), draw_value(draw), &value) != 0 || value != draw_value(draw)) {
            wrong("a new key was there already, or has a wrong value");
        }
        tick_at(map, i);
    }
    for (uint64_t i = 0; i < n; i++) {
        bench_draw draw = draw_in_passing(i);

        if (map_load(map, draw_key(draw), &value) != 1 || value != draw_value(draw)) {
            wrong("a present key was not found, or with a wrong value");
        }
        tick_at(map, i);
    }
}

static void memory_delete(map_type *map, uint64_t n)
{
    uint64_t value;

    for (uint64_t i = 0; i < n; i++) {
        if (map_delete(map, draw_key(draw_in_passing(i))) != 1) {
            wrong("a key was not there to be deleted");
        }
        tick_at(map, i);
    }
    for (uint64_t i = 0; i < n / 10; i++) {
        if (map_load(map, draw_key(draw_in_passing(n + i)), &value) != 0) {
            wrong("an absent key was found");
        }
        tick_at(map, i);
    }
}

/* Makes empty maps, and returns how many bytes one takes. Of fewer maps where a thousand would take too much: libcuckoo's
 * locks alone are 4 MB. */
static double make_empty_maps(map_type *maps[EMPTY_MAPS], int *made)
{
    double start = resident();
    double all = 0;

    while (*made < EMPTY_MAPS && all < EMPTY_BYTES_MOST) {
        for (int end = *made + EMPTY_MAPS / 10; *made < end; ++*made) {
            maps[*made] = map_create();
        }
        all = resident() - start;
    }
    return all / *made;
}

static void run_memory(struct worker *nobody)
{
    static map_type *maps[EMPTY_MAPS];
    uint64_t n = bench.options.n;
    int made = 0;
    double empty = make_empty_maps(maps, &made);
    double start = resident(); /* before the map is made, as some begin with megabytes */
    map_type *map = map_create();
    double full, peak;

    (void)nobody;
    attach(map);
    memory_fill(map, n);
    full = resident_at_rest(map);
    peak = kernel_figure("/proc/self/status", "VmHWM:");
    print_result("memory_full", "B/entry", (full - start) / (double)n, NULL);
    print_result("memory_peak", "B/entry", (peak - start) / (double)n, NULL);
    memory_delete(map, n);
    print_result("memory_deleted", "B/entry", (resident_at_rest(map) - start) / (double)n, NULL);
    print_result("memory_empty", "B", empty, NULL);
    destroy_map(map);
    while (made > 0) {
        destroy_map(maps[--made]);
    }
}

#endif
