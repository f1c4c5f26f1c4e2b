/* Range search in byte vectors (PhotoDNA's kind), exactly: boxes of boxes of rows are passed over
 * when a lower bound of the distance to all that is in them exceeds the limit.
 *
 * The bound, and why it is one: accord/matching/vector_index.py.
 */
#include "vector.h"

#include <string.h>

#if ACCORD_X86
#include <immintrin.h>
#endif

struct search {
    const struct vectors *index;
    const uint8_t *query;
    int32_t is_l1;
    uint64_t limit;
    struct vector_match *out;
    uint64_t room, found;
};

#define GAP_MAX 52 /* 24 * 52 * 52 fits 16 bits; cutting a gap only makes the bound weaker. */

#define TARGET
#define PATH(name) name##_portable

static uint64_t may_hold_portable(const uint8_t *low, const uint8_t *high, const uint8_t *query,
                                  uint32_t limit) {
    uint16_t sum[VECTOR_ZONE];
    memset(sum, 0, sizeof sum);
    for (int axis = 0; axis < VECTOR_AXES; axis++) {
        const uint8_t *from = low + axis * VECTOR_ZONE, *to = high + axis * VECTOR_ZONE;
        const int at = query[axis];
        for (int i = 0; i < VECTOR_ZONE; i++) {
            /* Cells between them: both lie somewhere in their own. */
            int gap = (from[i] > at ? from[i] - at : at > to[i] ? at - to[i] : 1) - 1;
            if (gap > GAP_MAX) gap = GAP_MAX;
            sum[i] = (uint16_t)(sum[i] + gap * gap);
        }
        if (axis % 4 < 3) continue;
        uint16_t least = UINT16_MAX;
        for (int i = 0; i < VECTOR_ZONE; i++) least = sum[i] < least ? sum[i] : least;
        if (least > limit) return 0;
    }
    uint64_t mask = 0;
    for (int i = 0; i < VECTOR_ZONE; i++) mask |= (uint64_t)(sum[i] <= limit) << i;
    return mask;
}

#include "vector_path.h"
#undef PATH
#undef TARGET

#if ACCORD_X86

#define TARGET __attribute__((target("avx2,popcnt,bmi")))
#define PATH(name) name##_avx2

/* Gaps of 32 cells on one axis. */
static inline TARGET __m256i gaps(const uint8_t *low, const uint8_t *high, __m256i at) {
    __m256i from = _mm256_loadu_si256((const __m256i *)low);
    __m256i to = _mm256_loadu_si256((const __m256i *)high);
    __m256i gap = _mm256_max_epu8(_mm256_subs_epu8(from, at), _mm256_subs_epu8(at, to));
    return _mm256_min_epu8(_mm256_subs_epu8(gap, _mm256_set1_epi8(1)),
                           _mm256_set1_epi8(GAP_MAX));
}

/* Each 16-bit lane of `sums` that is at most `limit`, as one bit of 32. */
static inline TARGET uint32_t at_most(__m256i low, __m256i high, __m256i limit) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i a = _mm256_cmpeq_epi16(_mm256_subs_epu16(low, limit), zero);
    __m256i b = _mm256_cmpeq_epi16(_mm256_subs_epu16(high, limit), zero);
    return (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(a, b));
}

/* Axes in pairs: their gaps side by side, so that one instruction squares and adds both. */
static TARGET uint64_t may_hold_avx2(const uint8_t *low, const uint8_t *high,
                                     const uint8_t *query, uint32_t limit) {
    const __m256i most = _mm256_set1_epi16((int16_t)limit);
    __m256i sum[4];
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_si256();
    for (int axis = 0; axis < VECTOR_AXES; axis += 2) {
        const __m256i here = _mm256_set1_epi8((char)query[axis]);
        const __m256i next = _mm256_set1_epi8((char)query[axis + 1]);
        for (int half = 0; half < 2; half++) {
            const int at = axis * VECTOR_ZONE + half * 32;
            __m256i a = gaps(low + at, high + at, here);
            __m256i b = gaps(low + at + VECTOR_ZONE, high + at + VECTOR_ZONE, next);
            __m256i first = _mm256_unpacklo_epi8(a, b), second = _mm256_unpackhi_epi8(a, b);
            sum[2 * half] =
                _mm256_add_epi16(sum[2 * half], _mm256_maddubs_epi16(first, first));
            sum[2 * half + 1] =
                _mm256_add_epi16(sum[2 * half + 1], _mm256_maddubs_epi16(second, second));
        }
        if (axis % 4 == 2 &&
            !(at_most(sum[0], sum[1], most) | at_most(sum[2], sum[3], most)))
            return 0;
    }
    return at_most(sum[0], sum[1], most) | (uint64_t)at_most(sum[2], sum[3], most) << 32;
}

#include "vector_path.h"
#undef PATH
#undef TARGET

#endif

int64_t accord_vector_search(int32_t path, const struct vectors *index, const uint8_t *query,
                             int32_t is_l1, uint64_t limit, uint64_t cells,
                             struct vector_match *out, uint64_t room) {
    struct search search = {index, query, is_l1, limit, out, room, 0};
#if ACCORD_X86
    if (path >= ACCORD_AVX2) vector_search_avx2(&search, cells);
    else
#endif
        vector_search_portable(&search, cells);
    (void)path;
    return (int64_t)search.found;
}
