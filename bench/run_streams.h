/* SPDX-License-Identifier: MIT
 *
 * The streams: the keys and kinds of operations of each thread, drawn before the clock starts.
 *
 * A stream is repeatable: it depends on the seed, the thread and what it is for, and on nothing else. Also used by
 * by_hand_*.c, which do without the rest of the runner.
 */
#ifndef BENCH_RUN_STREAMS_H
#define BENCH_RUN_STREAMS_H

#include "keys.h"

#include <math.h>

#define UNIFORM_LEAST 65536
#define UNIFORM_MOST 10000000
#define ZIPF_COUNT (1 << 20)
#define ZIPF_EXPONENT 0.99

/* What a stream is for. */
enum stream {
    STREAM_HITS,   /* uniform over keys 0 to n-1 */
    STREAM_ZIPF,   /* the same keys, key number r with weight 1 / (r + 1)^0.99 */
    STREAM_MISSES, /* uniform over keys n to 2n-1 */
    STREAM_MIXED,  /* uniform over keys 0 to 2n-1 */
    STREAM_KINDS,  /* which operation to do */
    STREAM_ORDER,  /* the order of insert */
    STREAMS
};

/* A source of 64-bit numbers. */
struct random {
    uint64_t at;
};

static inline struct random random_of(uint64_t seed, unsigned thread, enum stream stream)
{
    struct random random = {splitmix64(splitmix64(seed) + (uint64_t)thread * STREAMS + (uint64_t)stream)};

    return random;
}

static inline uint64_t random_next(struct random *random)
{
    return splitmix64(random->at++);
}

/* Between 0 and 1, both excluded. */
static inline double random_fraction(struct random *random)
{
    return ((double)(random_next(random) >> 11) + 0.5) * 0x1p-53;
}

/* ---- Zipf's distribution -------------------------------------------------------------------------- */

/* Rejection-inversion: W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
 * distributions", ACM TOMACS 6 (1996). The ranks 1 to n have the weights h(k) = k^-s; H is the integral of h, so that
 * H(k + 1/2) - H(k - 1/2) is nearly h(k), and a number drawn evenly from H's range is mapped back to a rank. */
struct zipf {
    double n;
    double from, to;  /* the range of H that is drawn from: the first rank's part begins where it is h(1) long */
    double immediate; /* a rank no farther off than this is right for sure */
};

static inline double zipf_integral(double x)
{
    return (pow(x, 1 - ZIPF_EXPONENT) - 1) / (1 - ZIPF_EXPONENT);
}

static inline double zipf_inverse(double y)
{
    return pow(1 + y * (1 - ZIPF_EXPONENT), 1 / (1 - ZIPF_EXPONENT));
}

static inline double zipf_weight(double x)
{
    return pow(x, -ZIPF_EXPONENT);
}

static inline struct zipf zipf_of(size_t n)
{
    struct zipf zipf;

    zipf.n = (double)n;
    zipf.from = zipf_integral(1.5) - 1;
    zipf.to = zipf_integral(zipf.n + 0.5);
    zipf.immediate = 2 - zipf_inverse(zipf_integral(2.5) - zipf_weight(2));
    return zipf;
}

/* A key number: a rank less one. */
static inline uint64_t zipf_next(const struct zipf *zipf, struct random *random)
{
    for (;;) {
        double drawn = zipf->from + random_fraction(random) * (zipf->to - zipf->from);
        double exact = zipf_inverse(drawn);
        double rank = floor(exact + 0.5);

        rank = rank < 1 ? 1 : rank > zipf->n ? zipf->n : rank;
        if (rank - exact <= zipf->immediate || drawn >= zipf_integral(rank + 0.5) - zipf_weight(rank)) {
            return (uint64_t)rank - 1;
        }
    }
}

/* ---- streams -------------------------------------------------------------------------------------- */

static inline size_t stream_count(enum stream stream, size_t n)
{
    if (stream == STREAM_ZIPF) {
        return ZIPF_COUNT;
    }
    return n < UNIFORM_LEAST ? UNIFORM_LEAST : n > UNIFORM_MOST ? UNIFORM_MOST : n;
}

/* The texts of string keys 0 to count-1, STRING_STRIDE bytes each; NULL for integers. */
static inline char *texts_make(size_t count)
{
    char *texts = NULL;

#ifdef KEYS_STRING
    texts = (char *)take(count, STRING_STRIDE);
    for (size_t i = 0; i < count; i++) {
        string_write(texts + i * STRING_STRIDE, i);
    }
#else
    (void)count;
#endif
    return texts;
}

static inline bench_draw draw_in(const char *texts, uint64_t i)
{
    return draw_of(i, texts ? texts + i * STRING_STRIDE : NULL);
}

/* stream_count() draws of one of the first four streams. */
static inline bench_draw *stream_make(enum stream stream, size_t n, uint64_t seed, unsigned thread,
                                      const char *texts)
{
    size_t count = stream_count(stream, n);
    bench_draw *draws = (bench_draw *)take(count, sizeof *draws);
    struct random random = random_of(seed, thread, stream);
    struct zipf zipf = zipf_of(n);

    for (size_t at = 0; at < count; at++) {
        uint64_t number = stream == STREAM_ZIPF ? zipf_next(&zipf, &random)
                          : stream == STREAM_MIXED ? random_next(&random) % (2 * n)
                                                   : random_next(&random) % n;

        draws[at] = draw_in(texts, stream == STREAM_MISSES ? n + number : number);
    }
    return draws;
}

enum kind { KIND_LOAD, KIND_LOAD_OR_STORE, KIND_DELETE };

/* As many kinds as there are mixed draws, of each so many per cent. */
static inline uint8_t *kinds_make(size_t n, uint64_t seed, unsigned thread, unsigned loads, unsigned stores)
{
    size_t count = stream_count(STREAM_MIXED, n);
    uint8_t *kinds = (uint8_t *)take(count, 1);
    struct random random = random_of(seed, thread, STREAM_KINDS);

    for (size_t at = 0; at < count; at++) {
        unsigned percent = (unsigned)(random_next(&random) % 100);

        kinds[at] = percent < loads ? KIND_LOAD : percent < loads + stores ? KIND_LOAD_OR_STORE : KIND_DELETE;
    }
    return kinds;
}

/* Keys 0 to n-1, each once, in a random order (Fisher and Yates). */
static inline bench_draw *order_make(size_t n, uint64_t seed, const char *texts)
{
    bench_draw *order = (bench_draw *)take(n, sizeof *order);
    struct random random = random_of(seed, 0, STREAM_ORDER);

    for (size_t i = 0; i < n; i++) {
        order[i] = draw_in(texts, i);
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(random_next(&random) % i);
        bench_draw draw = order[i - 1];

        order[i - 1] = order[j];
        order[j] = draw;
    }
    return order;
}

#endif
