/* SPDX-License-Identifier: MIT
 *
 * What identifiers.c does before it comes to the map: find the headers below a directory, read one, and cut the
 * identifiers out of it. Nothing here knows of threads, but that complain() may be called by all of them.
 */
#ifndef HEADER_FILES_H
#define HEADER_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit status. Of two that apply the greater one is told. */
enum status {
    STATUS_OK = 0,
    STATUS_INCOMPLETE = 1, /* something could not be read, or there was no header to read */
    STATUS_FAILED = 2,     /* bad usage, no such directory, no memory, or the output could not be written */
    STATUS_DIFFERS = 3     /* --check found a difference */
};

static inline enum status worse(enum status a, enum status b)
{
    return a > b ? a : b;
}

/* Whether stderr is a terminal, and so gets a progress line. Set once, before there are threads. */
static bool on_terminal;

#define ERASE_LINE "\r\033[K"

/* A message on stderr, whole even when several threads complain, and never on the line of the progress. */
__attribute__((format(printf, 1, 2))) static inline void complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    flockfile(stderr);
    fprintf(stderr, "%s%s: ", on_terminal ? ERASE_LINE : "", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(arguments);
}

/* ---- finding them -------------------------------------------------------------------------------- */

struct header {
    char *path;
    off_t size;  /* when it was found; only the order of work depends on it */
    bool unread; /* set by the one thread that tried and failed */
};

struct headers {
    struct header *items;
    size_t count;
    size_t room;
};

static inline bool is_header_name(const char *name)
{
    static const char *const endings[] = {".h", ".hh", ".hpp", ".hxx"};
    const char *ending = strrchr(name, '.');

    for (size_t i = 0; ending && i < sizeof endings / sizeof *endings; i++) {
        if (strcmp(ending, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Appends a copy of a path. False: memory is out, and nothing was appended. */
static inline bool headers_add(struct headers *headers, const char *path, off_t size)
{
    char *copy;

    if (headers->count == headers->room) {
        size_t room = headers->room ? 2 * headers->room : 1024;
        struct header *items = reallocarray(headers->items, room, sizeof *items);

        if (!items) {
            return false;
        }
        headers->items = items;
        headers->room = room;
    }
    copy = strdup(path);
    if (!copy) {
        return false;
    }
    headers->items[headers->count++] = (struct header){copy, size, false};
    return true;
}

static inline void headers_free(struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        free(headers->items[i].path);
    }
    free(headers->items);
}

static inline int larger_first(const void *a, const void *b)
{
    off_t size_a = ((const struct header *)a)->size, size_b = ((const struct header *)b)->size;

    return (size_a < size_b) - (size_a > size_b);
}

/* What one step of the walk means for the list. A symbolic link (FTS_SL, FTS_SLNONE), whatever it leads to, a
 * device and a FIFO (FTS_DEFAULT) are passed over: what a link leads to inside the tree is counted where it
 * is, and without links the walk cannot run in circles. */
static inline enum status visit_entry(const FTSENT *entry, struct headers *headers)
{
    switch (entry->fts_info) {
    case FTS_F:
        if (is_header_name(entry->fts_name) &&
            !headers_add(headers, entry->fts_path, entry->fts_statp->st_size)) {
            complain("out of memory for the list of headers");
            return STATUS_FAILED;
        }
        return STATUS_OK;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        complain("%s: %s", entry->fts_path, strerror(entry->fts_errno));
        return STATUS_INCOMPLETE;
    default:
        return STATUS_OK;
    }
}

/* Lists the headers below a directory, the largest first: the last ones to be handed out are then short, and no
 * thread is left with a long one when the others are done. */
static inline enum status find_headers(char *directory, struct headers *headers)
{
    char *roots[] = {directory, NULL};
    enum status status = STATUS_OK;
    FTS *walk;
    FTSENT *entry;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a bad argument, told apart from a bad entry */

    if (fd < 0) {
        complain("%s: %s", directory, strerror(errno));
        return STATUS_FAILED;
    }
    close(fd);
    walk = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    if (!walk) {
        complain("%s: %s", directory, strerror(errno));
        return STATUS_FAILED;
    }
    while (status != STATUS_FAILED && (entry = fts_read(walk))) {
        status = worse(status, visit_entry(entry, headers));
    }
    if (status != STATUS_FAILED && errno != 0) { /* fts_read sets it to 0 at the end of the tree */
        complain("%s: %s", directory, strerror(errno));
        status = STATUS_FAILED;
    }
    fts_close(walk);
    if (status != STATUS_FAILED && headers->count == 0) {
        complain("%s: no headers (*.h *.hh *.hpp *.hxx) there", directory);
        status = STATUS_INCOMPLETE;
    }
    if (headers->count > 1) {
        qsort(headers->items, headers->count, sizeof *headers->items, larger_first);
    }
    return status;
}

/* ---- reading one --------------------------------------------------------------------------------- */

/* A buffer that a thread reads all its files into, one after the other. */
struct buffer {
    char *bytes;
    size_t len;
    size_t room;
};

static inline int buffer_grow(struct buffer *buffer)
{
    size_t room = buffer->room ? 2 * buffer->room : (size_t)64 * 1024;
    char *bytes = realloc(buffer->bytes, room);

    if (!bytes) {
        return ENOMEM;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return 0;
}

/* Reads a whole file. 0 or an errno. By read(), as a mapped file that somebody truncates is a SIGBUS. The flags
 * are for a path that has changed since it was found: do not follow a link, do not wait for the writer of a FIFO. */
static inline int read_file(const char *path, struct buffer *buffer)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    ssize_t got = 1;
    int error = 0;

    if (fd < 0) {
        return errno;
    }
    buffer->len = 0;
    while (error == 0 && got > 0) {
        if (buffer->len == buffer->room) {
            error = buffer_grow(buffer);
            continue;
        }
        got = read(fd, buffer->bytes + buffer->len, buffer->room - buffer->len);
        if (got > 0) {
            buffer->len += (size_t)got;
        } else if (got < 0 && errno == EINTR) {
            got = 1;
        } else if (got < 0) {
            error = errno;
        }
    }
    close(fd);
    return error;
}

/* ---- scanning it --------------------------------------------------------------------------------- */

/* Where the scan of a text stands. */
struct scan {
    const char *at;
    const char *end;
};

struct identifier {
    const char *bytes;
    size_t len;
};

/* Not isalpha() and isdigit(): a locale has no say in what an identifier is. */
static inline bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_word(unsigned char c)
{
    unsigned char lower = c | 0x20;

    return (lower >= 'a' && lower <= 'z') || c == '_' || is_digit(c);
}

/* The next identifier of a text: a maximal run of letters, digits and underscores that does not begin with a
 * digit. So neither 0x1fUL nor any part of it is one. */
static inline bool next_identifier(struct scan *scan, struct identifier *found)
{
    while (scan->at < scan->end) {
        const char *start = scan->at;

        while (scan->at < scan->end && is_word((unsigned char)*scan->at)) {
            scan->at++;
        }
        if (scan->at == start) {
            scan->at++;
        } else if (!is_digit((unsigned char)*start)) {
            *found = (struct identifier){start, (size_t)(scan->at - start)};
            return true;
        }
    }
    return false;
}

#endif
