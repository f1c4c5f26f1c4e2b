/* The bodies of the search, included once for each path.
 *
 * Before including: PATH(name) names a function of this path, TARGET is its attribute, and
 * PATH(passes) is there: which of 32 filter values differ from `next` by at most `slack` bits.
 */

static TARGET inline uint32_t PATH(distance)(const uint64_t *a, const uint64_t *b) {
    return (uint32_t)(__builtin_popcountll(a[0] ^ b[0]) + __builtin_popcountll(a[1] ^ b[1]) +
                      __builtin_popcountll(a[2] ^ b[2]) + __builtin_popcountll(a[3] ^ b[3]));
}

static inline TARGET void PATH(put)(struct sink *sink, uint32_t query, uint32_t place,
                                    uint32_t distance) {
    if (sink->found < sink->room)
        sink->out[sink->found] = (struct match){query, place, distance};
    sink->found++;
}

/* Whether an earlier band finds this row too: it is reported by the first alone. */
static TARGET int PATH(is_repeat)(const struct plan *plan, const uint64_t *a, const uint64_t *b,
                                  uint32_t band) {
    const uint16_t *x = (const uint16_t *)a, *y = (const uint16_t *)b;
    for (uint32_t j = 0; j < band; j++) {
        uint32_t k = (j + 1) % RING_BANDS;
        uint32_t here = (uint32_t)__builtin_popcount((uint32_t)(x[j] ^ y[j]));
        uint32_t next = (uint32_t)__builtin_popcount((uint32_t)(x[k] ^ y[k]));
        if (here < plan->budgets[j] &&
            here + next < (uint32_t)plan->budgets[j] + plan->budgets[k])
            return 1;
    }
    return 0;
}

/* Compare whole what passed the filter. Two rounds, so that memory is fetched side by side. */
static TARGET int PATH(flush)(struct sink *sink) {
    const struct ring *ring = sink->ring;
    uint32_t waiting = sink->waiting;
    sink->waiting = 0;
    for (uint32_t i = 0; i < waiting; i++) {
        struct waiting *w = &sink->queue[i];
        uint32_t id = ring->ids[w->band][w->at];
        if (id >= ring->count) return ACCORD_CORRUPT;
        w->at = id;
        __builtin_prefetch(ring->hashes + (uint64_t)id * 32);
    }
    for (uint32_t i = 0; i < waiting; i++) {
        const struct waiting *w = &sink->queue[i];
        const uint64_t *row = (const uint64_t *)(ring->hashes + (uint64_t)w->at * 32);
        const uint64_t *query = sink->queries + (uint64_t)w->query * 4;
        uint32_t distance = PATH(distance)(row, query);
        if (distance > sink->plan->threshold) continue;
        if (PATH(is_repeat)(sink->plan, row, query, w->band)) continue;
        PATH(put)(sink, w->query, w->at, distance);
    }
    return 0;
}

/* Keep what passes of one bucket. Returns how many passed, or what went wrong. */
static inline TARGET int64_t PATH(bucket)(struct sink *sink, uint32_t band, uint32_t start,
                                          uint32_t end, uint16_t next, uint32_t slack,
                                          uint32_t query) {
    const uint16_t *filter = sink->ring->filter[band];
    int64_t passed = 0;
    for (uint64_t at = start; at < end; at += 32) {
        uint32_t mask = PATH(passes)(filter + at, next, slack);
        if (end - at < 32) mask &= (1u << (end - at)) - 1;
        while (__builtin_expect(mask != 0, 0)) {
            uint32_t place = (uint32_t)at + (uint32_t)__builtin_ctz(mask);
            mask &= mask - 1;
            __builtin_prefetch(sink->ring->ids[band] + place);
            sink->queue[sink->waiting++] = (struct waiting){query, place, band};
            passed++;
            if (sink->waiting == QUEUE) {
                int wrong = PATH(flush)(sink);
                if (wrong) return wrong;
            }
        }
    }
    return passed;
}

/* Compare one query with every row. */
static TARGET void PATH(scan)(struct sink *sink, uint32_t query) {
    const struct ring *ring = sink->ring;
    const uint64_t *q = sink->queries + (uint64_t)query * 4;
    const uint64_t *row = (const uint64_t *)ring->hashes;
    const uint64_t threshold = sink->plan->threshold;
    for (uint64_t i = 0; i < ring->count; i++, row += 4) {
        uint32_t half = (uint32_t)(__builtin_popcountll(row[0] ^ q[0]) +
                                   __builtin_popcountll(row[1] ^ q[1]));
        if (half > threshold) continue;
        uint32_t distance = PATH(distance)(row, q);
        if (distance <= threshold) PATH(put)(sink, query, (uint32_t)i, distance);
    }
}

/* Look up where the bucket of a step lies and fetch what is in it. */
static inline TARGET int PATH(fetch)(const struct ring *ring, const struct step *step,
                                     const uint16_t *keys, struct span *span) {
    const uint32_t *offsets = ring->offsets[step->band];
    uint32_t bucket = (uint32_t)(keys[step->band] ^ step->mask);
    uint32_t start = offsets[bucket], end = offsets[bucket + 1];
    if (start > end || end > ring->count) return ACCORD_CORRUPT;
    const char *at = (const char *)(ring->filter[step->band] + start);
    const char *to = (const char *)(ring->filter[step->band] + end);
    if (to - at > FETCH_BYTES) to = at + FETCH_BYTES; /* Beyond, the processor sees the stream. */
    for (; at < to + 62; at += 64) __builtin_prefetch(at);
    *span = (struct span){start, end};
    return 0;
}

/* Probe each bucket of the plan. While one is looked through, the one `AHEAD` steps on is fetched,
 * and where the one twice as far lies. */
static TARGET int PATH(probe)(struct sink *sink, uint32_t query) {
    const struct ring *ring = sink->ring;
    const struct plan *plan = sink->plan;
    const struct step *steps = plan->steps;
    const uint16_t *keys = (const uint16_t *)(sink->queries + (uint64_t)query * 4);
    const uint64_t total = plan->probes;
    const int64_t limit = (int64_t)(ring->count / 2 + 4096);
    const uint64_t found = sink->found;
    struct span spans[AHEAD];
    int64_t passed = 0;
    for (uint64_t i = 0; i < total && i < 2 * AHEAD; i++)
        __builtin_prefetch(ring->offsets[steps[i].band] + (keys[steps[i].band] ^ steps[i].mask));
    for (uint64_t i = 0; i < total && i < AHEAD; i++)
        if (PATH(fetch)(ring, steps + i, keys, spans + i)) return ACCORD_CORRUPT;
    for (uint64_t i = 0; i < total; i++) {
        const struct step *step = steps + i;
        const struct span span = spans[i % AHEAD];
        if (i + 2 * AHEAD < total) {
            const struct step *far = step + 2 * AHEAD;
            __builtin_prefetch(ring->offsets[far->band] + (keys[far->band] ^ far->mask));
        }
        if (i + AHEAD < total && PATH(fetch)(ring, step + AHEAD, keys, spans + i % AHEAD))
            return ACCORD_CORRUPT;
        int64_t more = PATH(bucket)(sink, step->band, span.start, span.end,
                                    keys[(step->band + 1) % RING_BANDS], step->slack, query);
        if (more < 0) return (int)more;
        passed += more;
        if (passed > limit) { /* Half of all rows look alike: a scan is the cheaper end. */
            sink->waiting = 0;
            sink->found = found;
            PATH(scan)(sink, query);
            return 0;
        }
    }
    return PATH(flush)(sink);
}

static TARGET int PATH(search)(struct sink *sink, uint64_t count) {
    for (uint64_t query = 0; query < count; query++) {
        if (!sink->plan->probes || !sink->ring->offsets[0]) {
            PATH(scan)(sink, (uint32_t)query);
            continue;
        }
        int wrong = PATH(probe)(sink, (uint32_t)query);
        if (wrong) return wrong;
    }
    return 0;
}

/* One bucket of one band for all the queries that probe it. */
static inline TARGET int PATH(visit)(struct sink *sink, uint32_t band, uint32_t start,
                                     uint32_t end, const struct asker *asker,
                                     const struct asker *last, uint64_t *passed) {
    const uint64_t limit = sink->ring->count / 2 + 4096;
    for (; asker < last; asker++) {
        if (passed[asker->query] > limit) continue; /* It is scanned in the end. */
        int64_t more = PATH(bucket)(sink, band, start, end, asker->next, asker->slack,
                                    asker->query);
        if (more < 0) return (int)more;
        passed[asker->query] += (uint64_t)more;
    }
    return 0;
}

static TARGET int PATH(bulk)(struct sink *sink, uint64_t count, struct desk *desk) {
    const struct ring *ring = sink->ring;
    const struct plan *plan = sink->plan;
    for (uint32_t band = 0; band < RING_BANDS; band++) {
        sort_askers(plan, sink->queries, count, band, desk);
        const uint32_t *offsets = ring->offsets[band];
        for (uint32_t bucket = 0; bucket < RING_BUCKETS; bucket++) {
            uint32_t from = bucket ? desk->ends[bucket - 1] : 0, to = desk->ends[bucket];
            if (from == to) continue;
            uint32_t start = offsets[bucket], end = offsets[bucket + 1];
            if (start > end || end > ring->count) return ACCORD_CORRUPT;
            __builtin_prefetch(ring->filter[band] + end + 512);
            int wrong = PATH(visit)(sink, band, start, end, desk->askers + from,
                                    desk->askers + to, desk->passed);
            if (wrong) return wrong;
        }
    }
    return PATH(flush)(sink);
}
