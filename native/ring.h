/* The PDQ index: structures shared with accord/matching/index_native.py. */
#ifndef ACCORD_RING_H
#define ACCORD_RING_H

#include "accord.h"

#define RING_BANDS 16
#define RING_BUCKETS 65536

/* An index where it lies. Every array may be read 64 bytes beyond its end. `offsets[0]` is null
 * where there are no bands. Shape: hashes count * 32 bytes, permuted; docs/spec/index-file.md. */
struct ring {
    uint64_t count;
    const uint8_t *hashes;
    const uint32_t *offsets[RING_BANDS];
    const uint16_t *filter[RING_BANDS];
    const uint32_t *ids[RING_BANDS];
};

struct step {
    uint16_t mask;
    uint8_t band;
    uint8_t slack;
};

/* The probes of a threshold, as accord/matching/index_plan.py makes and proves them. */
struct plan {
    const struct step *steps;
    const uint32_t *first; /* 17: where each band's steps begin. */
    const uint8_t *budgets; /* 16 */
    uint64_t threshold;
    uint64_t probes; /* 0: compare every row. */
};

struct match {
    uint32_t query;
    uint32_t place;
    uint32_t distance;
};

/* All rows within the threshold of each query, in no order, each once.
 * Returns how many there are; the first `room` of them are in `out`. `queries` are permuted. */
ACCORD_PUBLIC int64_t accord_ring_search(int32_t path, const struct ring *ring,
                                         const struct plan *plan, const uint8_t *queries,
                                         uint64_t count, struct match *out, uint64_t room);

/* The same answers, bucket by bucket, for thousands of queries at once. */
ACCORD_PUBLIC int64_t accord_ring_bulk(int32_t path, const struct ring *ring,
                                       const struct plan *plan, const uint8_t *queries,
                                       uint64_t count, struct match *out, uint64_t room);

/* `search` of one query as it came, put in order by `table` first. */
ACCORD_PUBLIC int64_t accord_ring_ask(int32_t path, const struct ring *ring,
                                      const struct plan *plan, const uint8_t *table,
                                      const uint8_t *query, struct match *out, uint64_t room);

/* One band: a stable counting sort of the rows by `keys`, `nexts` beside. */
ACCORD_PUBLIC void accord_ring_band(const uint16_t *keys, const uint16_t *nexts, uint64_t count,
                                    uint32_t *offsets, uint16_t *filter, uint32_t *ids);

/* Bits in another order. Shape: table 64 * 16 * 32 bytes, the image of each nibble at its place. */
ACCORD_PUBLIC void accord_ring_permute(const uint8_t *table, const uint8_t *in, uint8_t *out,
                                       uint64_t count);

/* `count` rows of 16 words as 16 columns, `stride` words apart. */
ACCORD_PUBLIC void accord_ring_columns(const uint16_t *in, uint64_t count, uint16_t *out,
                                       uint64_t stride);

#endif
