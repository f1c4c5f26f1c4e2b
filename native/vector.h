/* The index of byte vectors: structures shared with accord/matching/vector_native.py. */
#ifndef ACCORD_VECTOR_H
#define ACCORD_VECTOR_H

#include "accord.h"

#define VECTOR_BYTES 144
#define VECTOR_AXES 24
#define VECTOR_ZONE 64 /* Rows of a zone, zones of a field. */

/* An index where it lies; what the arrays mean: accord/matching/vector_index.py.
 * Shape: vectors count * 144; codes zones * 24 * 64; zone_low, zone_high fields * 24 * 64;
 * field_low, field_high field_groups * 24 * 64. What lies beyond the count is never reported. */
struct vectors {
    uint64_t count;
    uint64_t fields;
    const uint8_t *vectors;
    const uint8_t *codes;
    const uint8_t *zone_low, *zone_high;
    const uint8_t *field_low, *field_high;
    const int16_t *axes; /* 24 * 144 */
    const int32_t *origin; /* 24 */
    uint64_t shift;
};

struct vector_match {
    uint32_t place;
    uint32_t distance; /* L1, or L2 squared. */
};

/* All rows within `limit` of a query: L1 distance, or squared L2. `cells`: what the sum of squared
 * gaps may be at most; UINT64_MAX to compare every row. Returns how many there are. */
ACCORD_PUBLIC int64_t accord_vector_search(int32_t path, const struct vectors *index,
                                           const uint8_t *query, int32_t is_l1, uint64_t limit,
                                           uint64_t cells, struct vector_match *out,
                                           uint64_t room);

#endif
