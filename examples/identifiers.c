/* SPDX-License-Identifier: MIT
 *
 * identifiers - counts every C identifier in every header below a directory.
 *
 *     identifiers [--threads N] [--top N] [--check] [DIRECTORY]
 *
 * All threads share one map, from an identifier (a byte string, which the map copies) to a counter on the heap,
 * which the map owns. There is no lock in this program:
 *
 *   - The list of headers is complete before the threads start. They take the next one by an atomic add.
 *   - An identifier that is known, and nearly all are, costs a load and an atomic add: see count().
 *   - One that is new is settled by load_or_store: of all the threads that bring a counter for it at the same time
 *     one wins, and the others count in the winner's: see new_counter_slow().
 *   - The main thread reads the result after it has joined the others.
 *
 * --check then counts again, in one thread and with a plain hash table, and compares every identifier.
 *
 * Needs glibc, for argp, fts and pthread_timedjoin_np.
 */
#include "header_files.h"
#include "plain_table.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncmap.h>
#include <time.h>
#include <unistd.h>

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- counting, in all threads -------------------------------------------------------------------- */

struct counter {
    _Atomic uint64_t n;
};

/* What the threads share. */
struct run {
    syncmap *map; /* identifier -> struct counter */
    struct header *headers;
    size_t header_count;
    _Atomic size_t next; /* the header to be handed out next */
    _Atomic int error;   /* < 0: a thread met this error, and all stop */
    double start;
    /* Added to once per header: seldom enough for one cache line to be shared by all. */
    _Atomic size_t done; /* headers, the unreadable ones included */
    _Atomic size_t unread;
    _Atomic uint64_t bytes;
    _Atomic uint64_t identifiers;
};

/* Brings a counter for an identifier that had none. *counter is it, or that of a thread which was faster.
 * 0 or 1, or an error. The caller is pinned. */
static int new_counter_slow(syncmap *map, syncmap_key key, void **counter)
{
    struct counter *fresh = malloc(sizeof *fresh);
    int result;

    if (!fresh) {
        return SYNCMAP_ENOMEM;
    }
    atomic_init(&fresh->n, 0);
    result = syncmap_load_or_store(map, key, fresh, counter);
    if (result != 0) {
        free(fresh); /* not stored, so it is still ours and nobody has seen it */
    }
    return result;
}

/* Counts one occurrence. Not negative, or an error.
 *
 * The pin keeps the counter alive between the load and the add. This program never replaces or deletes one, but
 * what an owning map hands out is used under a pin: then nobody has to remember this function on the day that
 * the program does delete. One pin for each identifier, not one for each file: it costs a nanosecond or so,
 * and as pins end here they are never held over the reading of a file, which may take as long as it likes while
 * everything that the process retires piles up. */
static int count(syncmap *map, struct identifier identifier)
{
    syncmap_key key = syncmap_bytes(identifier.bytes, identifier.len);
    void *counter;
    int result;

    syncmap_pin();
    result = syncmap_load(map, key, &counter);
    if (result == 0) {
        result = new_counter_slow(map, key, &counter);
    }
    if (result >= 0) {
        /* relaxed: nothing else is published by a count, and the final reader joins this thread first */
        atomic_fetch_add_explicit(&((struct counter *)counter)->n, 1, memory_order_relaxed);
    }
    syncmap_unpin();
    return result;
}

static void count_header(struct run *run, struct header *header, struct buffer *buffer)
{
    struct scan scan;
    struct identifier identifier;
    uint64_t found = 0;
    int error = read_file(header->path, buffer);

    if (error) {
        complain("%s: %s", header->path, strerror(error));
        header->unread = true;
        run->unread++;
        run->done++;
        return;
    }
    scan = (struct scan){buffer->bytes, buffer->bytes + buffer->len};
    while (next_identifier(&scan, &identifier)) {
        int result = count(run->map, identifier);

        if (result < 0) {
            run->error = result;
            return;
        }
        found++;
    }
    run->identifiers += found;
    run->bytes += buffer->len;
    run->done++;
}

static void *work(void *argument)
{
    struct run *run = argument;
    struct buffer buffer = {NULL, 0, 0};
    size_t i;

    while (run->error == 0 && (i = run->next++) < run->header_count) {
        count_header(run, &run->headers[i], &buffer);
    }
    free(buffer.bytes);
    return NULL;
}

static void draw_progress(struct run *run)
{
    double elapsed = seconds_now() - run->start;
    double millions = (double)run->identifiers / 1e6;

    fprintf(stderr, ERASE_LINE "%zu of %zu headers, %.1f million identifiers/s", (size_t)run->done,
            run->header_count, elapsed > 0 ? millions / elapsed : 0.0);
}

/* Waits for a thread, and draws the progress ten times a second meanwhile. */
static void join_and_watch(pthread_t thread, struct run *run)
{
    struct timespec deadline;

    if (!on_terminal) {
        pthread_join(thread, NULL);
        return;
    }
    do {
        draw_progress(run);
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_nsec += 100 * 1000000L;
        if (deadline.tv_nsec >= 1000000000L) {
            deadline.tv_nsec -= 1000000000L;
            deadline.tv_sec++;
        }
    } while (pthread_timedjoin_np(thread, NULL, &deadline) == ETIMEDOUT);
}

/* Counts with so many threads, or with as many as can be had. Returns how many there were; 0: there is no memory. */
static unsigned count_in_threads(struct run *run, unsigned wanted)
{
    pthread_t *threads = calloc(wanted, sizeof *threads);
    unsigned started = 0;
    int error = 0;

    if (!threads) {
        return 0;
    }
    while (started < wanted && error == 0) {
        error = pthread_create(&threads[started], NULL, work, run);
        started += error == 0;
    }
    if (error) {
        complain("only %u of %u threads: %s", started, wanted, strerror(error));
    }
    if (started == 0) {
        work(run);
    }
    for (unsigned i = 0; i < started; i++) {
        join_and_watch(threads[i], run);
    }
    if (on_terminal) {
        fputs(ERASE_LINE, stderr);
    }
    free(threads);
    return started ? started : 1;
}

/* ---- the report ---------------------------------------------------------------------------------- */

struct row {
    struct identifier identifier;
    uint64_t count;
};

struct rows {
    struct row *items;
    size_t count;
    size_t room;
};

/* For syncmap_range(): appends a row. Stops if there are more keys than syncmap_len() said, which cannot be: nobody
 * writes any more. */
static bool collect_row(syncmap_key key, void *value, void *context)
{
    struct rows *rows = context;
    struct counter *counter = value;

    if (rows->count == rows->room) {
        return false;
    }
    rows->items[rows->count++] = (struct row){{key.as.ptr, syncmap_key_len(key)}, counter->n};
    return true;
}

/* The most frequent first; equally frequent ones in the order of their bytes, so that two runs print the same. */
static int by_count(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    size_t shorter = x->identifier.len < y->identifier.len ? x->identifier.len : y->identifier.len;
    int order;

    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    order = memcmp(x->identifier.bytes, y->identifier.bytes, shorter);
    return order ? order : (x->identifier.len > y->identifier.len) - (x->identifier.len < y->identifier.len);
}

static enum status print_top(syncmap *map, size_t top)
{
    struct rows rows = {NULL, 0, syncmap_len(map)};

    if (rows.room == 0 || top == 0) {
        return STATUS_OK;
    }
    rows.items = calloc(rows.room, sizeof *rows.items);
    if (!rows.items) {
        complain("out of memory for the table of the most frequent");
        return STATUS_FAILED;
    }
    /* The rows point to the map's own copies of the keys. Range keeps them valid until it returns; this pin,
     * until they are printed. It delays nobody: the other threads are gone. */
    syncmap_pin();
    syncmap_range(map, collect_row, &rows);
    qsort(rows.items, rows.count, sizeof *rows.items, by_count);
    printf("%12s  %s\n", "count", "identifier");
    for (size_t i = 0; i < rows.count && i < top; i++) {
        printf("%12" PRIu64 "  ", rows.items[i].count);
        fwrite(rows.items[i].identifier.bytes, 1, rows.items[i].identifier.len, stdout);
        putchar('\n');
    }
    putchar('\n');
    syncmap_unpin();
    free(rows.items);
    return STATUS_OK;
}

static void print_totals(struct run *run, unsigned threads, double seconds)
{
    double millions = (double)run->identifiers / 1e6;

    printf("files        %zu\n", run->header_count - run->unread);
    printf("bytes        %" PRIu64 "\n", run->bytes);
    printf("identifiers  %" PRIu64 "\n", run->identifiers);
    printf("distinct     %zu\n", syncmap_len(run->map));
    printf("threads      %u\n", threads);
    printf("seconds      %.3f\n", seconds);
    printf("million/s    %.2f\n", seconds > 0 ? millions / seconds : 0.0);
}

/* ---- --check ------------------------------------------------------------------------------------- */

#define DIFFERENCES_SHOWN 10

struct comparison {
    const struct plain_table *expected;
    size_t agree;
    size_t differ;
};

static void differ(struct comparison *comparison, struct identifier identifier, uint64_t in_map, uint64_t in_table)
{
    if (comparison->differ++ < DIFFERENCES_SHOWN) {
        printf("check: map %" PRIu64 ", plain table %" PRIu64 ": ", in_map, in_table);
        fwrite(identifier.bytes, 1, identifier.len, stdout);
        putchar('\n');
    }
}

/* For syncmap_range(): is what the map holds in the table? */
static bool compare_row(syncmap_key key, void *value, void *context)
{
    struct comparison *comparison = context;
    struct identifier identifier = {key.as.ptr, syncmap_key_len(key)};
    uint64_t in_map = ((struct counter *)value)->n;
    const uint64_t *in_table = plain_find(comparison->expected, identifier.bytes, identifier.len);

    if (in_table && *in_table == in_map) {
        comparison->agree++;
    } else {
        differ(comparison, identifier, in_map, in_table ? *in_table : 0);
    }
    return true;
}

/* The other direction: does a load find what the table holds? What both hold has been compared already. */
static void compare_slot(syncmap *map, const struct plain_slot *slot, struct comparison *comparison)
{
    struct identifier identifier = {slot->bytes, slot->len};

    if (syncmap_load(map, syncmap_bytes(slot->bytes, slot->len), NULL) != 1) {
        differ(comparison, identifier, 0, slot->count);
    }
}

/* Counts in this thread, with the plain table, the headers that the threads could read. */
static enum status count_plainly(const struct run *run, struct plain_table *table)
{
    struct buffer buffer = {NULL, 0, 0};
    enum status status = STATUS_OK;

    for (size_t i = 0; i < run->header_count && status != STATUS_FAILED; i++) {
        const struct header *header = &run->headers[i];
        struct identifier identifier;
        struct scan scan;
        int error = header->unread ? 0 : read_file(header->path, &buffer);

        if (error) {
            complain("%s: %s", header->path, strerror(error));
            status = STATUS_INCOMPLETE;
        }
        if (error || header->unread) {
            continue;
        }
        scan = (struct scan){buffer.bytes, buffer.bytes + buffer.len};
        while (next_identifier(&scan, &identifier)) {
            if (plain_count(table, identifier.bytes, identifier.len) < 0) {
                complain("out of memory for the plain table");
                status = STATUS_FAILED;
                break;
            }
        }
    }
    free(buffer.bytes);
    return status;
}

static enum status check(const struct run *run)
{
    struct plain_table table = {NULL, 0, 0};
    struct comparison comparison = {&table, 0, 0};
    double start = seconds_now();
    enum status status = count_plainly(run, &table);

    if (status != STATUS_FAILED) {
        double seconds = seconds_now() - start;

        syncmap_range(run->map, compare_row, &comparison);
        for (size_t i = 0; i < table.room; i++) {
            if (table.slots[i].bytes) {
                compare_slot(run->map, &table.slots[i], &comparison);
            }
        }
        printf("check: %zu identifiers agree", comparison.agree);
        if (comparison.differ) {
            printf(", %zu differ", comparison.differ);
            status = STATUS_DIFFERS;
        }
        printf(" (plain table, 1 thread: %.3f seconds)\n", seconds);
    }
    plain_free(&table);
    return status;
}

/* ---- the command line ---------------------------------------------------------------------------- */

struct options {
    char *directory;
    unsigned long threads;
    unsigned long top;
    bool check;
};

/* As many as there are processors that this process may run on. */
static unsigned long processors(void)
{
    cpu_set_t allowed;
    long online;

    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        return (unsigned long)CPU_COUNT(&allowed);
    }
    online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned long)online : 1;
}

/* A decimal number of an option; anything else ends the program with a message. */
static unsigned long parse_number(const char *text, unsigned long least, unsigned long most, const char *option,
                                  struct argp_state *state)
{
    char *end = NULL;
    unsigned long number = 0;

    errno = 0;
    if (is_digit((unsigned char)text[0])) { /* strtoul would take blanks and a sign too */
        number = strtoul(text, &end, 10);
    }
    if (!end || *end != '\0' || errno != 0 || number < least || number > most) {
        argp_error(state, "--%s needs a number from %lu to %lu, not '%s'", option, least, most, text);
    }
    return number;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'j':
        options->threads = parse_number(argument, 1, 4096, "threads", state);
        return 0;
    case 'n':
        options->top = parse_number(argument, 0, 1000000000, "top", state);
        return 0;
    case 'c':
        options->check = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "one directory, please: '%s' is too much", argument);
        }
        options->directory = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"threads", 'j', "N", 0, "Count in N threads (default: as many as there are processors)", 0},
    {"top", 'n', "N", 0, "Print the N most frequent identifiers (default: 20)", 0},
    {"check", 'c', NULL, 0, "Count again in one thread with a plain hash table, and compare everything", 0},
    {NULL, 0, NULL, 0, NULL, 0}};

static const char documentation[] =
    "Counts every C identifier in every header below DIRECTORY (default: /usr/include), in many threads that "
    "share one syncmap.\v"
    "A header is a regular file whose name ends in .h, .hh, .hpp or .hxx. Symbolic links below DIRECTORY are not "
    "followed, neither to directories nor to files.\n\n"
    "An identifier is a longest run of the letters a to z and A to Z, digits and underscores that does not begin "
    "with a digit. Nothing is preprocessed: the words in comments and in string literals count, and so do keywords. All "
    "other bytes, those of UTF-8 letters and NUL included, end an identifier.\n\n"
    "The time is that of reading and counting, without the walk of the directories. --check reads every header "
    "again: a tree that changes meanwhile will differ.\n\n"
    "Exit status: 0 all is counted; 1 something could not be read and the rest is counted, or there was no header; "
    "2 bad usage, DIRECTORY cannot be read, memory is out, or the output cannot be written; 3 --check found "
    "a difference.";

const char *argp_program_version = "identifiers (syncmap " SYNCMAP_VERSION_STRING ")";

static struct options parse_options(int argc, char **argv)
{
    static char default_directory[] = "/usr/include";
    static const struct argp parser = {option_list, parse_option, "[DIRECTORY]", documentation, NULL, NULL, NULL};
    struct options options = {default_directory, processors(), 20, false};
    error_t error;

    argp_err_exit_status = STATUS_FAILED;
    error = argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (error) { /* memory is out; for a mistake on the command line it does not return */
        complain("%s", strerror(error));
        exit(STATUS_FAILED);
    }
    return options;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

/* Counts, prints, and checks if asked to. */
static enum status count_and_report(struct run *run, const struct options *options)
{
    enum status status = STATUS_OK;
    unsigned threads;
    double seconds;

    run->start = seconds_now();
    threads = count_in_threads(run, (unsigned)options->threads);
    seconds = seconds_now() - run->start;
    if (threads == 0 || run->error < 0) {
        complain("%s", syncmap_strerror(threads == 0 ? SYNCMAP_ENOMEM : run->error));
        return STATUS_FAILED;
    }
    if (run->unread > 0) {
        status = STATUS_INCOMPLETE;
    }
    status = worse(status, print_top(run->map, options->top));
    print_totals(run, threads, seconds);
    if (options->check && status != STATUS_FAILED) {
        status = worse(status, check(run));
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("cannot write the output: %s", strerror(errno));
        status = worse(status, STATUS_FAILED);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    struct headers headers = {NULL, 0, 0};
    struct run run = {0};
    enum status status;

    on_terminal = isatty(STDERR_FILENO);
    status = find_headers(options.directory, &headers);
    if (status != STATUS_FAILED && headers.count > 0) {
        run.headers = headers.items;
        run.header_count = headers.count;
        run.map = syncmap_new(SYNCMAP_BYTES, &(syncmap_options){.value_free = syncmap_free_value});
        if (run.map) {
            status = worse(status, count_and_report(&run, &options));
        } else {
            complain("no map: %s", strerror(errno));
            status = STATUS_FAILED;
        }
        /* What the map owned may be freed only by a later call: wait for it, so that no checker sees a leak. */
        syncmap_free(run.map);
        syncmap_barrier();
    }
    headers_free(&headers);
    return (int)status;
}
