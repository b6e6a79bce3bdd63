/* SPDX-License-Identifier: MIT
 *
 * The plays: one at least for each pair of atomics of the essays (src/read_dirty.c, reclaim.h, thread.h), and plays made up at
 * random.
 */
#include <stdio.h>
#include <string.h>

#include "model/play.h"

const struct play plays[] = {
    /* ---- entries: P1 and P2 of read_dirty.c ---- */
    {"store against expunge", "S1 S2 M D1", {"S1", "S3"}, 0},
    {"store against expunge, then promotion", "S1 S2 M D1", {"S1 L1", "S3 M"}, 0},
    {"load_or_store against expunge", "S1 S2 M D1", {"O1", "S3 L1"}, 0},
    {"delete against expunge", "S1 S2 M", {"D1 S1", "S3 M"}, 0},
    {"two revive what is expunged", "S1 S2 M D1 S3", {"S1", "O1"}, 0},
    {"revive against promotion", "S1 S2 M D1 S3", {"S1 L1", "M L1"}, 0},
    {"revive against load", "S1 S2 M D1 S3", {"S1", "L1 L1"}, 0},
    {"the old read after promotion", "S1 S2 M D1 S3", {"L1 S1", "M G G", "S2"}, 0},
    {"expunged in one generation, alive in the next", "S1 S2 M D1 S3", {"S1 D1", "M S4 M"}, 0},
    {"delete against promotion", "S1 M S2", {"D2 L2", "M"}, 0},
    {"load_and_delete against promotion", "S1 M S2", {"X2", "M L2"}, 0},
    {"load against promotion", "S1 M S2", {"L2 L1", "L2 L2 M"}, 0},
    {"load against promotion and new key", "S1 M S2", {"L2", "M S3"}, 0},
    {"delete from dirty against store", "S1 M S2", {"D2", "S2 L2"}, 0},
    {"delete from dirty against load and store", "S1 M S2", {"D2", "S2", "L2"}, 0},
    {"delete from dirty, twice", "S1 M S2", {"X2", "X2"}, 0},
    {"delete from dirty, new key, promotion", "S1 M S2", {"D2", "S2 M", "L2"}, 0},
    {"delete and store of a present key", "S1 M", {"D1 S1", "S1 L1"}, 0},
    {"load_or_store against load_or_store", "", {"O1", "O1"}, 0},
    {"load_or_store against load_or_store, amended", "S1 M S2", {"O3 L3", "O3"}, 0},
    {"load_or_store against store against delete", "S1 M", {"O2", "S2", "D2"}, 0},
    {"compare_and_swap, twice from one value", "S1 M", {"C1:1", "C1:1"}, 0},
    {"compare_and_swap and back", "S1 M", {"C1:1 C1:20", "C1:20 L1"}, 0},
    {"compare_and_swap in dirty against load_and_delete", "S1 M S2", {"C2:3", "X2", "L2"}, 0},
    {"compare_and_delete against swap", "S1 M", {"K1:1", "W1"}, 0},
    {"compare_and_delete in dirty against promotion", "S1 M S2", {"K2:3", "M S2"}, 0},
    {"compare_and_swap expecting NULL", "s1 M", {"C1:99 L1", "D1 s1"}, 0},
    {"compare_and_delete expecting NULL", "s1 S2 M D1 S3", {"K1:99 C1:99", "s1 M"}, 0},
    {"swap against swap", "S1 M", {"W1 L1", "W1"}, 0},
    {"swap of a new key, twice", "S1 M", {"W2", "W2"}, 0},
    {"NULL is a value", "s1 M", {"s1 L1", "D1 O1"}, 0},

    /* ---- tables: P3 and P4 ---- */
    {"dirty grows against load", "S1 S2 S3 S4 S5 S6", {"S7", "L3 L7"}, 0},
    {"dirty grows against load and promotion", "S1 S2 S3 S4 S5 S6", {"S7", "L3", "M"}, 0},
    {"dirty grows against delete", "S1 S2 S3 S4 S5 S6", {"S7 L7", "D3 L3"}, 0},
    {"dirty is built against load", "S1 S2 M", {"S3", "L3 L1"}, 0},
    {"dirty is built twice", "S1 S2 M", {"S3 M S4", "L3 L4"}, 0},
    {"room for what is expunged", "S1 S2 S3 S4 S5 M D1 D2 D3 S6", {"S7 S1", "S2 S3"}, 0},
    {"tombstones against a search", "S1 M S2 S3", {"D2 S2", "L3 L2"}, 0},
    {"promotion by misses", "S1 M S2", {"L2 L3", "L3 L2"}, 0},

    /* ---- moving, halving, overflow: V1 to V8 of flat.h (read/dirty grows, builds and promotes in these) ---- */
    {"move against store", "S1 S2 S3 S4 S5 S6", {"S7 S8", "S1 L1"}, MOVES},
    {"move against delete and store", "S1 S2 S3 S4 S5 S6", {"S7 S8", "D1 S1"}, MOVES},
    {"move against load", "S1 S2 S3 S4 S5 S6", {"S7 D1", "L1 L7"}, MOVES},
    {"move against move", "S1 S2 S3 S4 S5 S6", {"S7 L8", "S8 L7"}, MOVES},
    {"move against compare_and_swap", "S1 S2 S3 S4 S5 S6", {"S7 S8", "C1:1 L1"}, MOVES},
    {"move against clear", "S1 S2 S3 S4 S5 S6", {"S7 S8", "Z S1"}, MOVES},
    {"move against range", "S1 S2 S3 S4 S5 S6", {"S7 D1", "R"}, MOVES},
    {"move against collect and load", "S1 S2 S3 S4 S5 S6", {"S7 S8 G G", "H1 T U"}, MOVES},
    {"halving against store", "S1 S2 S3 S4 S5 S6 S7 D7 D6 D5 D4 D3", {"D2 L1", "S1 S3"}, MOVES},
    {"halving against load", "S1 S2 S3 S4 S5 S6 S7 D7 D6 D5 D4 D3", {"D2 S3", "L1 L3"}, MOVES},
    {"halving against range", "S1 S2 S3 S4 S5 S6 S7 D7 D6 D5 D4 D3", {"D2 S3 S2", "R"}, MOVES},
    {"overflow unlinked against load", "S1 S2 S3 S4", {"D4 S5", "L4 L5"}, MOVES},
    {"overflow unlinked and used again", "S1 S2 S3 S4", {"D4 S5 D5", "L4 L1"}, MOVES},
    {"overflow unlinked against store", "S1 S2 S3 S4", {"D4 S4", "S5 L4"}, MOVES},
    {"a slot is used again", "S1", {"D1 S2", "L1 L2"}, MOVES},
    {"a slot is used again against load_or_store", "S1", {"D1 S2", "O1 L2"}, MOVES},
    {"a slot is used again against load_and_delete", "S1", {"D1 S2", "X1 L2"}, MOVES},
    {"a slot is used again against store", "S1", {"D1 S2", "S1 L2"}, MOVES},
    {"a full bucket against load_or_store", "S1 S2 S3 S4", {"D2 O5", "O5 L2"}, MOVES},
    {"a slot is used again by the same key", "S1", {"D1 S2 D2 S1", "L1"}, MOVES},

    /* ---- KEPT RECORDS of flat.h: as strings 2, 3, 4 and 7 share a bucket, of two and of four ---- */
    {"a kept slot for another key", "S2 S3 S4 D2", {"S7", "L2 L7"}, MOVES},
    {"a slot is used again against load_or_store, of strings", "S2 S3 S4", {"D2 S7", "O2 L7"}, MOVES},
    {"a kept slot for another key, and its own comes back", "S2 S3 S4 D2", {"S7 L2", "S2 L7"}, MOVES},
    {"kept, revived, and kept again", "S2 S3 S4", {"D2 S2 D2", "L2 L2"}, MOVES},
    {"two revive one record", "S2 S3 D2", {"O2 L2", "O2"}, MOVES},
    {"revived against load_and_delete", "S2 D2", {"S2 D2", "X2 L2"}, MOVES},
    {"revived against an eviction", "S2 S3 S4 D2", {"O2 L7", "O7 L2"}, MOVES},
    {"evicted against collect and search", "S2 S3 S4 D2", {"S7 G G", "O2 L2"}, MOVES},
    {"a move against what is revived", "S2 S3 S4 S7 D2", {"S5 S6", "S2 L3"}, MOVES},
    {"a move leaves what is kept, against collect and search", "S2 S3 S4 S7 D2", {"S5 G G", "O2 L2"}, MOVES},
    {"range against revival", "S2 S3 D2", {"S2 D3", "R"}, MOVES},
    {"reseeded against revival", "S2 S3 D2 F", {"S3 S5", "S2 L2"}, MOVES},
    {"reseeded into kept slots", "S2 S3 S4 F", {"D3 S5", "L4 S6", "S3 D4"}, MOVES},
    {"store buffering: revived", "S2 S3 D2 D3", {"S2 L3", "S3 L2"}, MOVES},

    /* ---- other secrets: RESEEDING of flat.h, and V10 ---- */
    {"reseeded against load", "S1 S2 S3 F", {"S1 S2", "L1 L3"}, MOVES},
    {"reseeded against store", "S1 S2 S3 F", {"S1 S4", "S3 L1"}, MOVES},
    {"reseeded against delete and store", "S1 S2 S3 F", {"S4 L2", "D2 S2"}, MOVES},
    {"reseeded against new key", "S1 S2 F", {"O3 L1", "O3 L3"}, MOVES},
    {"reseeded against compare_and_swap", "S1 S2 S3 F", {"S2", "C1:1 L1"}, MOVES},
    {"reseeded against load_and_delete", "S1 S2 S3 F", {"X1 X2", "X2 S1"}, MOVES},
    {"reseeded against clear", "S1 S2 F", {"Z S3", "S1 L2"}, MOVES},
    {"reseeded against range", "S1 S2 F", {"S3 D1", "R"}, MOVES},
    {"reseeding begins against range", "S1 S2", {"F S1", "R"}, MOVES},
    {"reseeding begins against load", "S1 S2", {"F S1", "L2 S2"}, MOVES},
    {"reseeding begins twice", "S1 S2", {"F S1 F", "S2 F L1"}, MOVES},
    {"reseeding against growing", "S1 S2 S3 S4 S5 S6", {"F S1", "S7 S8"}, MOVES},
    {"reseeded against two readers", "S1 S2 S3 F", {"S1 S4", "L1 L2", "L3"}, MOVES},
    {"reseeded, and an overflow bucket goes", "S1 S2 S3 S4 F", {"D4 S5", "L4 L1"}, MOVES},
    {"reseeded against collect and load", "S1 S2 F", {"S1 S2 G G", "H1 T U"}, MOVES},
    {"store buffering: reseeded", "S1 S2 F", {"S1 L2", "S2 L1"}, MOVES},

    /* ---- load_or_compute: C1 to C4 of api_compute.c ---- */
    {"computed by two", "", {"P1 L1", "P1"}, ONCE},
    {"computed by three", "", {"P1", "P1", "P1"}, ONCE},
    {"computed by two, amended", "S1 M S2", {"P3 L3", "P3"}, ONCE},
    {"computed by two while all moves", "S1 S2 S3 S4 S5 S6", {"P7 L8", "P8 P7"}, ONCE | MOVES},
    {"computed against store", "", {"P1 L1", "S1 L1"}, 0},
    {"computed against load_or_store and compare_and_swap", "", {"P1 L1", "O1 C1:20"}, 0},
    {"computed against delete", "S1 M", {"P1 L1", "D1 P1"}, 0},
    {"computed against delete and load_or_store", "S1", {"P1", "P1", "X1 O1"}, 0},
    {"computed against clear", "S1", {"P1 L1", "Z P1"}, 0},
    {"computed against promotion", "S1 M S2 D1", {"P1", "M P1"}, 0},
    {"computed, two keys one after the other", "", {"P1 P2", "P1 P2"}, ONCE},
    {"computed, two keys in two orders", "", {"P1 P2", "P2 P1"}, ONCE},
    {"computed within another", "", {"N1:2", "P2 P1"}, ONCE},
    {"computed within another, waited for by two", "", {"N1:2", "P2", "P1"}, ONCE},
    {"computed within each other", "", {"N1:2", "N2:1"}, RING},
    {"computed within each other, in a ring of three", "", {"N1:2", "N2:3", "N3:1"}, RING},
    {"computed within itself", "", {"N1:1 L1", "P1"}, RING},
    {"computed without a record", "", {"P1 L1", "P1"}, ONCE | NO_RECORD},

    /* ---- clear, range ---- */
    {"clear against store", "S1 M", {"Z", "S1 S2"}, 0},
    {"clear against new key", "S1 M S2", {"Z", "O2 S3"}, 0},
    {"clear against promotion", "S1 M S2", {"Z L1", "M L2"}, 0},
    {"clear against delete", "S1 M S2", {"Z S1", "D1 X2"}, 0},
    {"clear against revive", "S1 S2 M D1 S3", {"Z", "S1 L1"}, 0},
    {"clear against clear", "S1 M S2", {"Z S1", "Z L1"}, 0},
    {"clear against load in dirty", "S1 M S2", {"Z S2", "L2 L2"}, 0},
    {"range against store and delete", "S1 S2 M", {"R", "D1 S3"}, 0},
    {"range against clear", "S1 M S2", {"R", "Z S2"}, 0},
    {"range against promotion", "S1 M S2", {"R", "M S3 M"}, 0},
    {"scan against revive", "S1 S2 M D1 S3", {"S1", "S1 Q"}, 0},
    {"scan against revive, twice", "S1 S2 M D1 D2 S3", {"S1 D1 S2", "O1 Q"}, 0},
    {"scan against new key and promotion", "S1 M S2", {"Q", "S3 M D1"}, 0},
    {"scan against delete from dirty", "S1 M S2 S3", {"Q", "D2 S2"}, 0},
    {"range against range", "S1 M S2", {"R", "R S3"}, 0},

    /* ---- reclamation: reclaim.h ---- */
    {"retire against pin", "S1 M", {"H1 T T U", "S1 G G G"}, 0},
    {"retire against two pins", "S1 M", {"H1 T U H1 T U", "S1 G S1 G G"}, 0},
    {"retire against two readers", "S1 M", {"H1 T U", "H1 T U", "S1 G G G"}, 0},
    {"delete from dirty against pin", "S1 M S2", {"H2 T U", "D2 G G G"}, 0},
    {"delete from dirty against collect and load", "S1 M S2", {"D2", "G L2"}, 0},
    {"replaced in dirty against collect and load", "S1 M S2 S3", {"S2 D3", "G L3 L2"}, 0},
    {"two collectors", "S1 M", {"S1 G G", "S1 G G"}, 0},
    {"two collectors against a pin", "S1 M", {"H1 T U", "S1 G G", "G G"}, 0},
    {"barrier against pin", "S1 M", {"H1 T U", "D1 B"}, 0},
    {"barrier against barrier", "S1", {"G B", "G B"}, 0},
    {"barrier against retire", "S1 M", {"G B", "S1 G G"}, 0},

    /* ---- threads: thread.h ---- */
    {"thread exit against collect", "S1 M", {"H1 T", "S1 G G G"}, EXIT},
    {"garbage of a thread that exits", "S1 M", {"S1 D1", "G G"}, EXIT},
    {"two threads attach", "S1 M", {"L1", "S1"}, COLD | EXIT},
    {"record reused", "S1 M", {"L1", "H1 T", "S1 G G G"}, COLD | EXIT},
    {"attach against collect", "S1 M", {"H1 T U", "S1 G G"}, COLD},
    {"one free record for two", "S1 M", {"S1 H1 T U", "S1 G G"}, REUSE},
    {"one free record for two, and exit", "S1 M", {"S1 L1", "S1 D1"}, REUSE | EXIT},
    {"retire against pin without a record", "S1 M", {"H1 T U", "S1 G G G"}, NO_RECORD},
    {"retire against pins without a record", "S1 M", {"H1 T U", "H1 T U", "S1 G G G"}, NO_RECORD | NO_RECORDS},
    {"load without a record", "S1 M S2", {"L1 L2", "D2 S1 G G"}, NO_RECORD},
    {"store without a record", "S1 M S2", {"O1 O3", "D1 G G"}, NO_RECORD},

    /* ---- across keys, with store buffers: see ORDER in syncmap.h ---- */
    {"store buffering: stores", "S1 S2 M", {"S1 L2", "S2 L1"}, 0},
    {"store buffering: new keys", "", {"S1 L2", "S2 L1"}, 0},
    {"store buffering: present and new", "S1 M", {"S1 L2", "S2 L1"}, 0},
    {"store buffering: deletes", "S1 S2 M", {"D1 L2", "D2 L1"}, 0},
    {"store buffering: clear", "S1 S2 M", {"Z L3", "S3 L1"}, 0},
    {"store buffering: dirty", "S1 M S2 S3", {"D2 L3", "X3 L2"}, 0},
    {"store buffering: replaced and looked at", "S1 S2 M", {"W1 O2", "C2:2 C1:99"}, 0},
    {"store buffering: range", "S1 S2 M", {"D1 R", "S3 L1"}, 0},
    {"store buffering: ranges", "", {"S1 R", "S2 R"}, 0},
    {"store buffering: where all moves", "S1 S2 S3 S4 S5 S6 S7", {"S1 L2", "S2 L1"}, MOVES},
    {"store buffering: where another moves", "S1 S2 S3 S4 S5 S6 S7", {"S1 L2", "S2 L1", "S8"}, MOVES},
    {"store buffering: while a move begins", "S1 S2 S3 S4 S5 S6", {"S7 S1 L2", "S2 L1"}, MOVES},
    {"store buffering: overflow", "S1 S2 S3 S4", {"D4 L1", "S1 L4"}, MOVES},
    /* ---- ABSENT KEYS of flat.h: V11, P11 ---- */
    {"filter, store buffering: new keys", "", {"S1 L2", "S2 L1"}, FILTER},
    {"filter, store buffering: new keys beside others", "S3 S4", {"O1 X2", "O2 C1:20"}, FILTER},
    {"filter, store buffering: revived", "S2 S3 D2 D3", {"S2 L3", "S3 L2"}, FILTER},
    {"filter, store buffering: reseeded", "S1 S2 F", {"S3 L4", "S4 L3"}, FILTER | MOVES},
    {"filter, store buffering: where all moves", "S1 S2 S3 S4 S5 S6 S7", {"S8 L9", "S9 L8"}, FILTER | MOVES},
    {"filter, store buffering: deletes", "S1 S2", {"D1 L2", "D2 L1"}, FILTER},
    {"filter, delete and store against load", "S1", {"D1 S1", "L1 L1"}, FILTER},
    {"filter, delete against new keys", "S1 S2", {"D1 S3", "S4 L3", "D2 L4"}, FILTER},
    {"filter, delete against store and delete", "S1", {"D1 S2 D2", "S1 D1 L2"}, FILTER},
    {"filter, compare_and_... against store and delete", "S1", {"S2 D2", "C2:20 K2:40"}, FILTER},
    {"filter, overflow unlinked and new key", "S1 S2 S3 S4", {"D4 S5 D3", "L4 S6 L5"}, FILTER | MOVES},
    {"filter, move against new key", "S1 S2 S3 S4 S5 S6", {"S7 S8", "L8 L7 S9"}, FILTER | MOVES},
    {"filter, move against new key and its load", "S1 S2 S3 S4 S5 S6", {"S7 S8", "S9 L9"}, FILTER | MOVES},
    {"filter, move against delete, store and load", "S1 S2 S3 S4 S5 S6", {"S7 S8", "D1 S1 L1"}, FILTER | MOVES},
    {"filter, reseeded against new key and its load", "S1 S2 F", {"S1 S3", "S4 L4"}, FILTER | MOVES},
    {"filter, move against delete and new key", "S1 S2 S3 S4 S5 S6", {"S7 S8 L1", "D1 S1 L8"}, FILTER | MOVES},
    {"filter, move against move", "S1 S2 S3 S4 S5 S6", {"S7 S8 L9", "D2 S9 L8"}, FILTER | MOVES},
    {"filter, halving against new key", "S1 S2 S3 S4 S5 S6 S7 D7 D6 D5 D4 D3", {"D2 S8", "L8 S3 L2"}, FILTER | MOVES},
    {"filter, reseeded against load and new key", "S1 S2 S3 F", {"S1 S4", "L1 L4 D3"}, FILTER | MOVES},
    {"filter, clear against new key", "S1 S2", {"Z S3", "S4 L3"}, FILTER},
    {"filter, range against store and delete", "S1 S2", {"R L3", "D1 S3"}, FILTER},
    {"message passing", "S1 S2 M", {"S1 S2", "L2 L1"}, 0},
    {"three readers and writers", "S1 S2 M", {"S1 S2", "L2 L1", "S2 L1"}, 0},
};
const size_t play_count = sizeof plays / sizeof plays[0];

/* ---- made up ---- */

static uint64_t state;

static unsigned below(unsigned n)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % n);
}

static void make_part(char text[PART_MAX], unsigned calls, const char *letters)
{
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < calls; i++) {
        char letter = letters[below((unsigned)strlen(letters))];
        unsigned key = 1 + below(3);
        if (letter == 'C' || letter == 'K')
            at += (size_t)snprintf(text + at, PART_MAX - at, "%c%u:%u ", letter, key, below(2) ? 1 + below(8) : 20 * (1 + below(3)));
        else if (strchr("ZRMGF", letter) != NULL)
            at += (size_t)snprintf(text + at, PART_MAX - at, "%c ", letter);
        else
            at += (size_t)snprintf(text + at, PART_MAX - at, "%c%u ", letter, key);
    }
}

const struct play *play_random(uint64_t seed)
{
    static char name[PLAY_NAME], before[PART_MAX], part[MODEL_MAIN][PART_MAX];
    static struct play play;
    state = seed;
    unsigned threads = 2 + (below(3) == 0);
    make_part(before, 2 + below(6), "SSSSSDDMMMsZF");
    play = (struct play){.name = name, .before = before, .flags = (below(8) == 0 ? EXIT : 0) | (below(4) == 0 ? FILTER : 0)};
    bool range = false;
    for (unsigned i = 0; i < threads; i++) {
        make_part(part[i], 1 + below(threads == 2 ? 4 : 2), range ? "LLSSsDDXXWWOOPPCCKKMMZGF" : "LLSSsDDXXWWOOPPCCKKMMZGFR");
        range |= strchr(part[i], 'R') != NULL;
        play.part[i] = part[i];
    }
    snprintf(name, sizeof name, "random %llu", (unsigned long long)seed);
    return &play;
}
