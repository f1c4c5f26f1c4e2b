/* The bodies of the vector search, included once for each path.
 *
 * Before including: PATH(name) names a function of this path, TARGET is its attribute, and
 * PATH(may_hold) is there: which of 64 cells or boxes may hold something within `limit`, that is
 * those whose squared gaps to the query's cell, over all axes, do not sum to more. `low` and
 * `high` are one array where cells are asked about. Shape: 24 * 64. */

static TARGET uint32_t PATH(squares)(const uint8_t *a, const uint8_t *b) {
    uint32_t sum = 0;
    for (int i = 0; i < VECTOR_BYTES; i++) {
        int16_t d = (int16_t)(a[i] - b[i]);
        sum += (uint32_t)((int32_t)d * d);
    }
    return sum;
}

static TARGET uint32_t PATH(differences)(const uint8_t *a, const uint8_t *b) {
    uint32_t sum = 0;
    for (int i = 0; i < VECTOR_BYTES; i++) sum += (uint32_t)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
    return sum;
}

static inline TARGET void PATH(compare)(struct search *search, uint64_t place) {
    const uint8_t *row = search->index->vectors + place * VECTOR_BYTES;
    uint32_t distance = search->is_l1 ? PATH(differences)(row, search->query)
                                      : PATH(squares)(row, search->query);
    if (distance > search->limit) return;
    if (search->found < search->room)
        search->out[search->found] = (struct vector_match){(uint32_t)place, distance};
    search->found++;
}

/* The query's place on each axis, as a cell; beyond the outermost one it counts as in it, which
 * only makes gaps smaller. */
static TARGET void PATH(locate)(const struct vectors *index, const uint8_t *query,
                                uint8_t *cells) {
    for (int axis = 0; axis < VECTOR_AXES; axis++) {
        const int16_t *weights = index->axes + axis * VECTOR_BYTES;
        int32_t sum = 0;
        for (int i = 0; i < VECTOR_BYTES; i++) sum += (int32_t)weights[i] * query[i];
        int64_t from = (int64_t)sum - index->origin[axis];
        int64_t cell = from < 0 ? 0 : from >> index->shift;
        cells[axis] = (uint8_t)(cell > 255 ? 255 : cell);
    }
}

static TARGET void PATH(narrow)(struct search *search, uint32_t limit) {
    const struct vectors *index = search->index;
    const uint64_t box = VECTOR_AXES * VECTOR_ZONE;
    const uint64_t zones = (index->count + VECTOR_ZONE - 1) / VECTOR_ZONE;
    uint8_t cells[VECTOR_AXES];
    PATH(locate)(index, search->query, cells);
    for (uint64_t group = 0; group * VECTOR_ZONE < index->fields; group++) {
        uint64_t fields = PATH(may_hold)(index->field_low + group * box,
                                         index->field_high + group * box, cells, limit);
        for (; fields; fields &= fields - 1) {
            uint64_t field = group * VECTOR_ZONE + (uint64_t)__builtin_ctzll(fields);
            if (field >= index->fields) break;
            uint64_t found = PATH(may_hold)(index->zone_low + field * box,
                                            index->zone_high + field * box, cells, limit);
            for (; found; found &= found - 1) {
                uint64_t zone = field * VECTOR_ZONE + (uint64_t)__builtin_ctzll(found);
                if (zone >= zones) break;
                const uint8_t *codes = index->codes + zone * box;
                uint64_t rows = PATH(may_hold)(codes, codes, cells, limit);
                for (; rows; rows &= rows - 1) {
                    uint64_t place = zone * VECTOR_ZONE + (uint64_t)__builtin_ctzll(rows);
                    if (place < index->count) PATH(compare)(search, place);
                }
            }
        }
    }
}

static TARGET void PATH(vector_search)(struct search *search, uint64_t cells) {
    if (cells < UINT16_MAX) {
        PATH(narrow)(search, (uint32_t)cells);
        return;
    }
    for (uint64_t place = 0; place < search->index->count; place++) PATH(compare)(search, place);
}
