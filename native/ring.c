/* Ring-filter multi-index hashing: every row within a Hamming distance, exactly.
 *
 * What is probed, and why nothing is missed: accord/matching/index_plan.py.
 * How the arrays lie: docs/spec/index-file.md.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#if ACCORD_X86
#include <immintrin.h>
#endif

#ifndef QUEUE
#define QUEUE 256       /* Rows that wait to be compared: their lines fit the second cache. */
#endif
#ifndef AHEAD
#define AHEAD 16        /* Buckets fetched ahead. */
#endif
#ifndef FETCH_BYTES
#define FETCH_BYTES 512 /* Of one bucket. */
#endif

struct waiting {
    uint32_t query;
    uint32_t at; /* First a place in the band, then a row. */
    uint32_t band;
};

struct span {
    uint32_t start, end;
};

struct sink {
    const struct ring *ring;
    const struct plan *plan;
    const uint64_t *queries;
    struct match *out;
    uint64_t room, found;
    uint32_t waiting;
    struct waiting queue[QUEUE];
};

/* A query that probes a bucket. */
struct asker {
    uint32_t query;
    uint16_t next;
    uint16_t slack; /* In `by_key`: the query's key. */
};

/* Room for one band's work on a batch. */
struct desk {
    uint32_t *ends;        /* RING_BUCKETS: where each bucket's askers end. */
    struct asker *by_key;  /* count */
    struct asker *askers;  /* count, for each mask of the band. */
    uint64_t *passed;      /* count: what each query has kept so far. */
};

/* Counts become where each bucket begins; whoever fills the buckets moves that on to its end. */
static void begin(uint32_t *ends) {
    for (uint32_t bucket = 0, sum = 0; bucket < RING_BUCKETS; bucket++) {
        uint32_t here = ends[bucket];
        ends[bucket] = sum;
        sum += here;
    }
}

/* The askers of every bucket of one band, bucket by bucket. Queries are taken by key, so that for
 * each mask the places written to go up, and stay in the cache. */
static void sort_askers(const struct plan *plan, const uint64_t *queries, uint64_t count,
                        uint32_t band, struct desk *desk) {
    const uint16_t *words = (const uint16_t *)queries;
    const uint32_t next = (band + 1) % RING_BANDS;
    const uint32_t from = plan->first[band], to = plan->first[band + 1];
    uint32_t *ends = desk->ends;
    memset(ends, 0, RING_BUCKETS * sizeof *ends);
    for (uint64_t i = 0; i < count; i++) ends[words[i * 16 + band]]++;
    begin(ends);
    for (uint64_t i = 0; i < count; i++) {
        uint16_t key = words[i * 16 + band];
        desk->by_key[ends[key]++] = (struct asker){(uint32_t)i, words[i * 16 + next], key};
    }
    memset(ends, 0, RING_BUCKETS * sizeof *ends);
    for (uint32_t step = from; step < to; step++) {
        uint16_t mask = plan->steps[step].mask;
        for (uint64_t i = 0; i < count; i++) ends[desk->by_key[i].slack ^ mask]++;
    }
    begin(ends);
    for (uint32_t step = from; step < to; step++) {
        uint16_t mask = plan->steps[step].mask, slack = plan->steps[step].slack;
        for (uint64_t i = 0; i < count; i++) {
            struct asker one = desk->by_key[i];
            uint32_t at = ends[one.slack ^ mask]++;
            one.slack = slack;
            desk->askers[at] = one;
        }
    }
}

/* ---- portable ---- */

#define TARGET
#define PATH(name) name##_portable

static inline uint32_t passes_portable(const uint16_t *filter, uint16_t next, uint32_t slack) {
    uint16_t off[32]; /* Compilers turn these loops into whatever vectors the machine has. */
    uint16_t any = 0;
    for (int i = 0; i < 32; i++) {
        uint16_t x = (uint16_t)(filter[i] ^ next);
        x = (uint16_t)(x - ((x >> 1) & 0x5555));
        x = (uint16_t)((x & 0x3333) + ((x >> 2) & 0x3333));
        x = (uint16_t)((x + (x >> 4)) & 0x0f0f);
        x = (uint16_t)((x + (x >> 8)) & 31);
        off[i] = (uint16_t)(x <= slack);
        any |= off[i];
    }
    if (!any) return 0;
    uint32_t mask = 0;
    for (int i = 0; i < 32; i++) mask |= (uint32_t)off[i] << i;
    return mask;
}

#include "ring_path.h"

#undef PATH
#undef TARGET

#if ACCORD_X86

/* ---- AVX2 ---- */

#define TARGET __attribute__((target("avx2,popcnt,bmi")))
#define PATH(name) name##_avx2

/* All ones where at most `slack` bits are set: the lowest bit is cleared so many times. */
static inline TARGET __m256i few_avx2(__m256i x, uint32_t slack) {
    const __m256i minus = _mm256_set1_epi16(-1);
    if (slack < 4) {
        for (uint32_t i = 0; i < slack; i++) x = _mm256_and_si256(x, _mm256_add_epi16(x, minus));
        return _mm256_cmpeq_epi16(x, _mm256_setzero_si256());
    }
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i bits = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                          2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i a = _mm256_shuffle_epi8(bits, _mm256_and_si256(x, low));
    __m256i b = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(x, 4), low));
    __m256i sum = _mm256_maddubs_epi16(_mm256_add_epi8(a, b), _mm256_set1_epi8(1));
    return _mm256_cmpgt_epi16(_mm256_set1_epi16((int16_t)(slack + 1)), sum);
}

static inline TARGET uint32_t passes_avx2(const uint16_t *filter, uint16_t next, uint32_t slack) {
    const __m256i wanted = _mm256_set1_epi16((int16_t)next);
    __m256i x = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)filter), wanted);
    __m256i y = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(filter + 16)), wanted);
    switch (slack) { /* The two that threshold 31 needs, without a loop. */
    case 2: x = few_avx2(x, 2), y = few_avx2(y, 2); break;
    case 3: x = few_avx2(x, 3), y = few_avx2(y, 3); break;
    default: x = few_avx2(x, slack), y = few_avx2(y, slack);
    }
    __m256i both = _mm256_packs_epi16(x, y); /* It packs each half for itself: put in order. */
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(both, 0xd8));
}

#include "ring_path.h"

#undef PATH
#undef TARGET

/* ---- AVX-512 with bit counts ---- */

#define TARGET                                                                                    \
    __attribute__((target("avx2,popcnt,bmi,avx512f,avx512bw,avx512vl,avx512bitalg,avx512vpopcntdq")))
#define PATH(name) name##_avx512

static inline TARGET uint32_t passes_avx512(const uint16_t *filter, uint16_t next,
                                            uint32_t slack) {
    __m512i x = _mm512_xor_si512(_mm512_loadu_si512(filter), _mm512_set1_epi16((int16_t)next));
    return _mm512_cmple_epu16_mask(_mm512_popcnt_epi16(x), _mm512_set1_epi16((int16_t)slack));
}

#include "ring_path.h"

#undef PATH
#undef TARGET

#endif

/* ---- what is called ---- */

static int run(int32_t path, struct sink *sink, uint64_t count) {
#if ACCORD_X86
    if (path == ACCORD_AVX512) return search_avx512(sink, count);
    if (path == ACCORD_AVX2) return search_avx2(sink, count);
#endif
    return search_portable(sink, count);
}

static void scan_one(int32_t path, struct sink *sink, uint32_t query) {
#if ACCORD_X86
    if (path == ACCORD_AVX512) { scan_avx512(sink, query); return; }
    if (path == ACCORD_AVX2) { scan_avx2(sink, query); return; }
#endif
    scan_portable(sink, query);
}

int64_t accord_ring_search(int32_t path, const struct ring *ring, const struct plan *plan,
                           const uint8_t *queries, uint64_t count, struct match *out,
                           uint64_t room) {
    struct sink sink;
    sink.ring = ring, sink.plan = plan, sink.queries = (const uint64_t *)queries;
    sink.out = out, sink.room = room, sink.found = 0, sink.waiting = 0;
    int wrong = run(path, &sink, count);
    return wrong ? wrong : (int64_t)sink.found;
}

int64_t accord_ring_ask(int32_t path, const struct ring *ring, const struct plan *plan,
                        const uint8_t *table, const uint8_t *query, struct match *out,
                        uint64_t room) {
    uint64_t permuted[4];
    accord_ring_permute(table, query, (uint8_t *)permuted, 1);
    return accord_ring_search(path, ring, plan, (const uint8_t *)permuted, 1, out, room);
}

/* Drop what was found for queries that are to be scanned, and scan for them. */
static void scan_the_crowded(int32_t path, struct sink *sink, uint64_t count,
                             const uint64_t *passed) {
    const uint64_t limit = sink->ring->count / 2 + 4096;
    uint64_t kept = 0, there = sink->found < sink->room ? sink->found : sink->room;
    for (uint64_t i = 0; i < there; i++)
        if (passed[sink->out[i].query] <= limit) sink->out[kept++] = sink->out[i];
    /* Where the room was too small the count is only to be large enough: it is asked again. */
    sink->found = sink->found > sink->room ? sink->found : kept;
    for (uint64_t query = 0; query < count; query++)
        if (passed[query] > limit) scan_one(path, sink, (uint32_t)query);
}

int64_t accord_ring_bulk(int32_t path, const struct ring *ring, const struct plan *plan,
                         const uint8_t *queries, uint64_t count, struct match *out,
                         uint64_t room) {
    uint64_t widest = 0;
    for (uint32_t band = 0; band < RING_BANDS; band++) {
        uint64_t width = plan->first[band + 1] - plan->first[band];
        if (width > widest) widest = width;
    }
    if (!plan->probes || !ring->offsets[0] || !widest || count * widest > UINT32_MAX)
        return accord_ring_search(path, ring, plan, queries, count, out, room);
    struct sink sink;
    sink.ring = ring, sink.plan = plan, sink.queries = (const uint64_t *)queries;
    sink.out = out, sink.room = room, sink.found = 0, sink.waiting = 0;
    struct desk desk = {malloc(RING_BUCKETS * sizeof *desk.ends),
                        malloc((count + 1) * sizeof *desk.by_key),
                        malloc((count * widest + 1) * sizeof *desk.askers),
                        calloc(count + 1, sizeof *desk.passed)};
    int wrong = ACCORD_NO_MEMORY;
    if (desk.ends && desk.by_key && desk.askers && desk.passed) {
#if ACCORD_X86
        if (path == ACCORD_AVX512) wrong = bulk_avx512(&sink, count, &desk);
        else if (path == ACCORD_AVX2) wrong = bulk_avx2(&sink, count, &desk);
        else
#endif
            wrong = bulk_portable(&sink, count, &desk);
        if (!wrong) scan_the_crowded(path, &sink, count, desk.passed);
    }
    free(desk.ends), free(desk.by_key), free(desk.askers), free(desk.passed);
    return wrong ? wrong : (int64_t)sink.found;
}

void accord_ring_band(const uint16_t *keys, const uint16_t *nexts, uint64_t count,
                      uint32_t *offsets, uint16_t *filter, uint32_t *ids) {
    memset(offsets, 0, (RING_BUCKETS + 1) * sizeof *offsets);
    for (uint64_t i = 0; i < count; i++) offsets[keys[i] + 1u]++;
    for (uint32_t bucket = 0; bucket < RING_BUCKETS; bucket++)
        offsets[bucket + 1] += offsets[bucket];
    /* Each offset moves to its bucket's end, where the next bucket begins; then all move back. */
    for (uint64_t i = 0; i < count; i++) {
        uint32_t at = offsets[keys[i]]++;
        filter[at] = nexts[i];
        ids[at] = (uint32_t)i;
    }
    memmove(offsets + 1, offsets, RING_BUCKETS * sizeof *offsets);
    offsets[0] = 0;
}

void accord_ring_permute(const uint8_t *table, const uint8_t *in, uint8_t *out, uint64_t count) {
    for (uint64_t i = 0; i < count; i++, in += 32, out += 32) {
        uint64_t sum[4] = {0, 0, 0, 0}, high[4], low[4];
        const uint8_t *entry = table;
        for (int byte = 0; byte < 32; byte++, entry += 2 * 16 * 32) {
            memcpy(high, entry + (in[byte] >> 4) * 32, 32);
            memcpy(low, entry + 16 * 32 + (in[byte] & 15) * 32, 32);
            for (int word = 0; word < 4; word++) sum[word] |= high[word] | low[word];
        }
        memcpy(out, sum, 32);
    }
}

void accord_ring_columns(const uint16_t *in, uint64_t count, uint16_t *out, uint64_t stride) {
    for (uint64_t from = 0; from < count; from += 256) { /* A block stays in the first cache. */
        uint64_t to = from + 256 < count ? from + 256 : count;
        for (int band = 0; band < RING_BANDS; band++)
            for (uint64_t i = from; i < to; i++) out[band * stride + i] = in[i * 16 + band];
    }
}
