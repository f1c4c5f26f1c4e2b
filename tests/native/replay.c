/* Runs the kernel's portable path on cases from standard input and says what it answers: what is
 * compiled for another processor has no Python there to be called from.
 *
 * Shape: a case is a u32 of what to run and a u32 of how many blobs follow, each a u64 of size and
 * its bytes; the first holds u64 numbers. An answer is a u64 of size and bytes. All little-endian,
 * all in an order that tests/property/test_native_elsewhere.py knows.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/patches.h"
#include "../../native/pdq.h"
#include "../../native/ring.h"
#include "../../native/vector.h"

enum { MACHINE, INDEX, LOOK_UP, PIXELS, FOLD, VECTORS, PATCHES, APART };
enum { BLOBS_MAX = 16, PAD = 64 };

struct blob {
    uint64_t size;
    uint8_t *at;
};

static void *room_of(uint64_t size) {
    void *at = aligned_alloc(PAD, (size / PAD + 2) * PAD);
    if (!at) exit(2);
    return memset(at, 0, (size / PAD + 2) * PAD);
}

static void take(void *to, uint64_t size) {
    if (size && fread(to, 1, size, stdin) != size) exit(3);
}

static void say(const void *from, uint64_t size) {
    fwrite(&size, 1, sizeof size, stdout);
    fwrite(from, 1, size, stdout);
}

static void machine(void) {
    int32_t facts[2] = {accord_abi(), accord_best_path()};
    say(facts, sizeof facts);
}

/* Numbers: count. Blobs: nibble table, PDQs. Says hashes, then each band's three arrays. */
static void build(const uint64_t *number, const struct blob *blob) {
    const uint64_t count = number[0];
    uint16_t *hashes = room_of(count * 32), *columns = room_of(count * 32);
    uint32_t *offsets = room_of((RING_BUCKETS + 1) * 4), *ids = room_of(count * 4);
    uint16_t *filter = room_of(count * 2);
    accord_ring_permute(blob[1].at, blob[2].at, (uint8_t *)hashes, count);
    say(hashes, count * 32);
    accord_ring_columns(hashes, count, columns, count);
    for (int band = 0; band < RING_BANDS; band++) {
        const uint16_t *next = columns + (band + 1) % RING_BANDS * count;
        accord_ring_band(columns + band * count, next, count, offsets, filter, ids);
        say(offsets, (RING_BUCKETS + 1) * 4), say(filter, count * 2), say(ids, count * 4);
    }
    free(hashes), free(columns), free(offsets), free(ids), free(filter);
}

/* Numbers: count, bands, threshold, probes, room, whether at once, then where hashes and each
 * band's arrays begin. Blobs: table, index, steps, first, budgets, PDQs asked for. */
static void look_up(const uint64_t *number, const struct blob *blob) {
    const uint8_t *index = blob[2].at;
    const uint64_t *start = number + 6, count = blob[6].size / 32, room = number[4];
    struct ring ring = {.count = number[0], .hashes = index + *start++};
    for (uint64_t band = 0; band < number[1]; band++) {
        ring.offsets[band] = (const uint32_t *)(index + *start++);
        ring.filter[band] = (const uint16_t *)(index + *start++);
        ring.ids[band] = (const uint32_t *)(index + *start++);
    }
    struct plan plan = {(const struct step *)blob[3].at, (const uint32_t *)blob[4].at, blob[5].at,
                        number[2], number[3]};
    uint8_t *queries = room_of(count * 32);
    struct match *out = room_of(room * sizeof *out);
    accord_ring_permute(blob[1].at, blob[6].at, queries, count);
    int64_t found = number[5]
                        ? accord_ring_bulk(ACCORD_PORTABLE, &ring, &plan, queries, count, out, room)
                        : accord_ring_search(ACCORD_PORTABLE, &ring, &plan, queries, count, out, room);
    if (found < 0 || (uint64_t)found > room) exit(4);
    say(out, (uint64_t)found * sizeof *out);
    if (count == 1) {
        found = accord_ring_ask(ACCORD_PORTABLE, &ring, &plan, blob[1].at, blob[6].at, out, room);
        say(out, (uint64_t)found * sizeof *out);
    }
    free(queries), free(out);
}

static void say_bits(const float *grid, const float *matrix) {
    float frequencies[PDQ_SIDE * PDQ_SIDE];
    uint8_t bits[32];
    int32_t quality = accord_pdq_bits(ACCORD_PORTABLE, grid, matrix, frequencies, bits);
    say(grid, PDQ_GRID * PDQ_GRID * sizeof *grid);
    say(frequencies, sizeof frequencies), say(bits, sizeof bits), say(&quality, sizeof quality);
}

/* Numbers: width, height, channels, rows at once. Blobs: matrix, pixels. */
static void pixels(const uint64_t *number, const struct blob *blob) {
    const uint32_t width = (uint32_t)number[0], height = (uint32_t)number[1];
    const uint32_t channels = (uint32_t)number[2], strip = (uint32_t)number[3];
    const uint64_t stride = (uint64_t)width * channels;
    void *room = room_of(accord_pdq_room(width, height));
    float *grid = room_of(PDQ_GRID * PDQ_GRID * sizeof *grid);
    if (accord_pdq_begin(room, width, height)) exit(5);
    for (uint32_t row = 0; row < height; row += strip) {
        const uint32_t rows = height - row < strip ? height - row : strip;
        if (accord_pdq_rows(ACCORD_PORTABLE, room, blob[2].at + row * stride, stride, channels, rows))
            exit(5);
    }
    if (accord_pdq_finish(ACCORD_PORTABLE, room, grid)) exit(5);
    say_bits(grid, (const float *)blob[1].at);
    free(room), free(grid);
}

/* Numbers: sizes and counts across and down. Blobs: matrix, grey, start and weight, both twice. */
static void fold(const uint64_t *number, const struct blob *blob) {
    struct fold across = {(uint32_t)number[0], (uint32_t)number[1], (const uint32_t *)blob[3].at,
                          (const float *)blob[4].at};
    struct fold down = {(uint32_t)number[2], (uint32_t)number[3], (const uint32_t *)blob[5].at,
                        (const float *)blob[6].at};
    float *room = room_of(PDQ_GRID * (across.size + 8) * sizeof *room);
    float *grid = room_of(PDQ_GRID * PDQ_GRID * sizeof *grid);
    if (accord_pdq_fold(ACCORD_PORTABLE, blob[2].at, across.size, &across, &down, room, grid))
        exit(5);
    say_bits(grid, (const float *)blob[1].at);
    free(room), free(grid);
}

/* Numbers: count, fields, shift, whether L1, limit, cells, room. Blobs: vectors, codes, the boxes
 * of zones and of fields, axes, origin, the vector asked for. */
static void vectors(const uint64_t *number, const struct blob *blob) {
    struct vectors index = {
        number[0],      number[1],      blob[1].at,     blob[2].at,
        blob[3].at,     blob[4].at,     blob[5].at,     blob[6].at,
        (const int16_t *)blob[7].at,    (const int32_t *)blob[8].at,    number[2],
    };
    struct vector_match *out = room_of(number[6] * sizeof *out);
    int64_t found = accord_vector_search(ACCORD_PORTABLE, &index, blob[9].at, (int32_t)number[3],
                                         number[4], number[5], out, number[6]);
    if (found < 0 || (uint64_t)found > number[6]) exit(6);
    say(out, (uint64_t)found * sizeof *out);
    free(out);
}

/* Numbers: width, height, room. Blobs: grey, `struct blurs` up to its pointers, taps, powers, the
 * reaches of directions and of patches, weights, circle, matrix. Says spots, their turns, then
 * frequencies and quality of each spot turned to its strongest direction, or upright. */
static void patches(const uint64_t *number, const struct blob *blob) {
    const uint32_t width = (uint32_t)number[0], height = (uint32_t)number[1];
    const uint32_t room = (uint32_t)number[2];
    const uint8_t *grey = blob[1].at;
    const float *reach = (const float *)blob[5].at;
    const float *weights = (const float *)blob[6].at, *circle = (const float *)blob[7].at;
    struct blurs blurs;
    memcpy(&blurs, blob[2].at, offsetof(struct blurs, taps));
    blurs.taps = (const float *)blob[3].at, blurs.powers = (const float *)blob[4].at;
    float *work = room_of(accord_patches_room(width, height) * sizeof *work);
    struct spot *spots = room_of(room * sizeof *spots);
    const int32_t found = accord_patches_spots(ACCORD_PORTABLE, grey, width, width, height, &blurs,
                                               work, spots, room);
    if (found < 0 || (uint32_t)found > room) exit(7);
    const uint32_t count = (uint32_t)found;
    int32_t *turns = room_of(count * 2 * sizeof *turns), *first = room_of(count * sizeof *first);
    int32_t *quality = room_of(count * sizeof *quality);
    float *frequencies = room_of((uint64_t)count * 256 * sizeof *frequencies);
    if (accord_patches_turns(ACCORD_PORTABLE, grey, width, width, height, work, spots, count,
                             reach[0], weights, turns))
        exit(7);
    for (uint32_t i = 0; i < count; i++) first[i] = turns[2 * i] < 0 ? 0 : turns[2 * i];
    if (accord_patches_hashed(ACCORD_PORTABLE, grey, width, width, height, work, spots, first,
                              count, reach[1], circle, (const float *)blob[8].at, frequencies,
                              quality))
        exit(7);
    say(spots, count * sizeof *spots), say(turns, count * 2 * sizeof *turns);
    say(frequencies, (uint64_t)count * 256 * sizeof *frequencies);
    say(quality, count * sizeof *quality);
    free(work), free(spots), free(turns), free(first), free(quality), free(frequencies);
}

/* Blobs: rows of 32 bytes, others. */
static void apart(const struct blob *blob) {
    const uint64_t count = blob[1].size / 32, others = blob[2].size / 32;
    uint16_t *out = room_of(count * others * sizeof *out);
    accord_patches_apart(ACCORD_PORTABLE, blob[1].at, count, blob[2].at, others, out);
    say(out, count * others * sizeof *out);
    free(out);
}

int main(void) {
    uint32_t head[2];
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        struct blob blob[BLOBS_MAX] = {{0, 0}};
        if (head[1] > BLOBS_MAX) return 1;
        for (uint32_t i = 0; i < head[1]; i++) {
            take(&blob[i].size, sizeof blob[i].size);
            blob[i].at = room_of(blob[i].size);
            take(blob[i].at, blob[i].size);
        }
        const uint64_t *number = (const uint64_t *)blob[0].at;
        switch (head[0]) {
        case MACHINE: machine(); break;
        case INDEX: build(number, blob); break;
        case LOOK_UP: look_up(number, blob); break;
        case PIXELS: pixels(number, blob); break;
        case FOLD: fold(number, blob); break;
        case VECTORS: vectors(number, blob); break;
        case PATCHES: patches(number, blob); break;
        case APART: apart(blob); break;
        default: return 1;
        }
        for (uint32_t i = 0; i < head[1]; i++) free(blob[i].at);
    }
    return 0;
}
