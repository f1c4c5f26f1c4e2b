/* The bodies of PDQ, included once for each path.
 *
 * Before including: PATH(name) names a function of this path, TARGET is its attribute, and there
 * are PATH(transpose), 8 by 8 floats, and PATH(luma), 8 pixels.
 */

/* Turn 16 rows of 8 around: 8 columns of 16. */
static inline TARGET void PATH(to_columns)(const float *tile, float *columns) {
    PATH(transpose)(tile, TILE, columns, LANES);
    PATH(transpose)(tile + TILE * TILE, TILE, columns + TILE, LANES);
}

/* The luma of 16 rows at 8 columns, turned. Rows that are not there are left as they were. */
static inline TARGET void PATH(load)(const uint8_t *pixels, uint64_t stride, uint32_t channels,
                                     uint32_t rows, uint32_t wide, float *tile, float *columns) {
    for (uint32_t row = 0; row < rows; row++, pixels += stride) {
        if (wide == TILE) {
            PATH(luma)(pixels, channels, tile + row * TILE);
            continue;
        }
        uint8_t end[TILE * 4] = {0};
        memcpy(end, pixels, wide * channels);
        PATH(luma)(end, channels, tile + row * TILE);
    }
    PATH(to_columns)(tile, columns);
}

/* The first pass along 16 rows: the box across. */
static TARGET void PATH(along)(struct work *work, const uint8_t *pixels, uint64_t stride,
                               uint32_t channels, uint32_t rows) {
    const uint32_t width = work->width, window = work->across.window;
    const uint32_t before = work->across.before, mask = work->mask;
    float *out = work->rows + (uint64_t)(work->seen % work->slots) * work->padded;
    _Alignas(64) float tile[LANES * TILE] = {0}, ready[TILE * LANES] = {0};
    f8 sum0 = {0}, sum1 = {0};
    uint32_t inside = 0;
    for (uint32_t x = 0; x < width + before; x++) {
        if (x < width) {
            if (x % TILE == 0) {
                uint32_t wide = width - x < TILE ? width - x : TILE;
                PATH(load)(pixels + (uint64_t)x * channels, stride, channels, rows, wide, tile,
                           work->columns + (uint64_t)(x & mask) * LANES);
            }
            const f8 *add = (const f8 *)(work->columns + (uint64_t)(x & mask) * LANES);
            sum0 = sum0 + add[0], sum1 = sum1 + add[1];
            inside++;
        }
        if (x >= window) {
            const f8 *drop = (const f8 *)(work->columns + (uint64_t)((x - window) & mask) * LANES);
            sum0 = sum0 - drop[0], sum1 = sum1 - drop[1];
            inside--;
        }
        if (x < before) continue;
        const uint32_t o = x - before;
        f8 *put = (f8 *)(ready + o % TILE * LANES);
        put[0] = sum0 / (float)inside, put[1] = sum1 / (float)inside;
        if (o % TILE == TILE - 1 || o == width - 1) {
            float *to = out + o / TILE * TILE;
            PATH(transpose)(ready, LANES, to, work->padded);
            PATH(transpose)(ready + TILE, LANES, to + TILE * (uint64_t)work->padded, work->padded);
        }
    }
}

/* The second pass, down 16 rows, and the third, along them: what is kept are 64 columns. */
static TARGET void PATH(across_and_along)(struct work *work) {
    const uint32_t width = work->width, height = work->height, mask = work->mask;
    const uint32_t window = work->across.window, before = work->across.before;
    const uint32_t behind = work->down.window - work->down.before; /* Left the window: o - behind. */
    const float *add[LANES], *drop[LANES];
    float divisor[LANES];
    for (uint32_t k = 0; k < LANES; k++) {
        const uint32_t o = work->made + k, last = o + work->down.before;
        add[k] = drop[k] = work->zeros, divisor[k] = 1;
        if (o >= height) continue;
        if (last < height) add[k] = work->rows + (uint64_t)(last % work->slots) * work->padded;
        if (o >= behind)
            drop[k] = work->rows + (uint64_t)((o - behind) % work->slots) * work->padded;
        divisor[k] = (float)((last < height ? last : height - 1) - (o >= behind ? o - behind + 1 : 0) + 1);
    }
    _Alignas(64) float tile[LANES * TILE], kept[PDQ_GRID * LANES];
    f8 sum0 = {0}, sum1 = {0};
    uint32_t inside = 0, next = 0;
    for (uint32_t x = 0; x < width + before; x++) {
        if (x < width) {
            float *here = work->columns + (uint64_t)(x & mask) * LANES;
            if (x % TILE == 0) {
                f8 *sums = (f8 *)(work->sums + x);
                f8 sum = *sums;
                for (uint32_t k = 0; k < LANES; k++) {
                    sum = sum + *(const f8 *)(add[k] + x);
                    sum = sum - *(const f8 *)(drop[k] + x);
                    *(f8 *)(tile + k * TILE) = sum / divisor[k];
                }
                *sums = sum;
                PATH(to_columns)(tile, here);
            }
            sum0 = sum0 + ((const f8 *)here)[0], sum1 = sum1 + ((const f8 *)here)[1];
            inside++;
        }
        if (x >= window) {
            const f8 *past = (const f8 *)(work->columns + (uint64_t)((x - window) & mask) * LANES);
            sum0 = sum0 - past[0], sum1 = sum1 - past[1];
            inside--;
        }
        while (next < PDQ_GRID && work->pick_x[next] + before == x) {
            f8 *put = (f8 *)(kept + next++ * LANES);
            put[0] = sum0 / (float)inside, put[1] = sum1 / (float)inside;
        }
    }
    float *cells = work->cells + (uint64_t)work->made * PDQ_GRID;
    for (uint32_t i = 0; i < PDQ_GRID; i += TILE) {
        PATH(transpose)(kept + i * LANES, LANES, cells + i, PDQ_GRID);
        PATH(transpose)(kept + i * LANES + TILE, LANES, cells + TILE * PDQ_GRID + i, PDQ_GRID);
    }
}

/* Up to 16 further rows of the picture. */
static TARGET void PATH(take)(struct work *work, const uint8_t *pixels, uint64_t stride,
                              uint32_t channels, uint32_t rows) {
    if (is_grid(work)) {
        for (uint32_t row = 0; row < rows; row++, work->seen++)
            for (uint32_t x = 0; x < PDQ_GRID; x += TILE)
                PATH(luma)(pixels + row * stride + x * channels, channels,
                           work->cells + work->seen * PDQ_GRID + x);
        return;
    }
    PATH(along)(work, pixels, stride, channels, rows);
    const uint32_t before = work->down.before;
    for (uint32_t row = work->seen; row < work->seen + rows && row < before; row++)
        for (uint32_t x = 0; x < work->padded; x += TILE)
            *(f8 *)(work->sums + x) += *(f8 *)(work->rows + (uint64_t)row * work->padded + x);
    work->seen += rows;
    while (work->made < work->height && (work->seen == work->height ||
                                         work->made + LANES - 1 + before < work->seen)) {
        PATH(across_and_along)(work);
        work->made += LANES;
    }
}

/* The last pass, down the 64 columns, at 64 rows. */
static TARGET void PATH(pick_down)(const struct work *work, float *grid) {
    const uint32_t height = work->height, window = work->down.window;
    const uint32_t before = work->down.before;
    for (uint32_t i = 0; i < PDQ_GRID; i += TILE) {
        f8 sum = {0};
        uint32_t inside = 0, next = 0;
        for (uint32_t y = 0; y < height + before; y++) {
            if (y < height) {
                sum = sum + *(const f8 *)(work->cells + (uint64_t)y * PDQ_GRID + i);
                inside++;
            }
            if (y >= window) {
                sum = sum - *(const f8 *)(work->cells + (uint64_t)(y - window) * PDQ_GRID + i);
                inside--;
            }
            while (next < PDQ_GRID && work->pick_y[next] + before == y) {
                const f8 mean = sum / (float)inside;
                memcpy(grid + next++ * PDQ_GRID + i, &mean, sizeof mean);
            }
        }
    }
}

/* One cell's weighted sums down, at 8 columns. */
static inline TARGET void PATH(weigh)(const uint8_t *from, uint64_t stride, uint32_t wide,
                                      const float *weight, uint32_t count, float *out) {
    f8 sum = {0};
    for (uint32_t t = 0; t < count; t++, from += stride) {
        _Alignas(32) float values[TILE];
        if (wide == TILE) {
            PATH(luma)(from, 1, values);
        } else {
            uint8_t end[TILE] = {0};
            memcpy(end, from, wide);
            PATH(luma)(end, 1, values);
        }
        sum = sum + weight[t] * *(const f8 *)values;
    }
    *(f8 *)out = sum;
}

/* Weighted sums down, then across. */
static TARGET void PATH(fold)(const uint8_t *grey, uint64_t stride, const struct fold *across,
                              const struct fold *down, float *turned, float *grid) {
    const uint32_t width = across->size;
    _Alignas(64) float tile[PDQ_GRID * TILE];
    for (uint32_t x = 0; x < width; x += TILE) {
        const uint32_t wide = width - x < TILE ? width - x : TILE;
        for (uint32_t i = 0; i < PDQ_GRID; i++)
            PATH(weigh)(grey + down->start[i] * stride + x, stride, wide,
                        down->weight + i * down->count, down->count, tile + i * TILE);
        for (uint32_t i = 0; i < PDQ_GRID; i += TILE)
            PATH(transpose)(tile + i * TILE, TILE, turned + (uint64_t)x * PDQ_GRID + i, PDQ_GRID);
    }
    for (uint32_t j = 0; j < PDQ_GRID; j += TILE) {
        for (uint32_t k = 0; k < TILE; k++) {
            float sums[PDQ_GRID] = {0};
            const float *from = turned + (uint64_t)across->start[j + k] * PDQ_GRID;
            for (uint32_t t = 0; t < across->count; t++, from += PDQ_GRID) {
                const float weight = across->weight[(j + k) * across->count + t];
                for (uint32_t i = 0; i < PDQ_GRID; i++) sums[i] = sums[i] + weight * from[i];
            }
            memcpy(tile + k * PDQ_GRID, sums, sizeof sums);
        }
        for (uint32_t i = 0; i < PDQ_GRID; i += TILE)
            PATH(transpose)(tile + i, PDQ_GRID, grid + i * PDQ_GRID + j, PDQ_GRID);
    }
}

/* Frequencies 1 to 16 of both axes: matrix * grid * turned matrix, each sum in order. */
static TARGET void PATH(transform)(const float *grid, const float *matrix, float *out) {
    float half[PDQ_SIDE * PDQ_GRID], turned[PDQ_GRID * PDQ_SIDE];
    for (int i = 0; i < PDQ_SIDE; i++) {
        float *sums = half + i * PDQ_GRID;
        memset(sums, 0, PDQ_GRID * sizeof(float));
        for (int k = 0; k < PDQ_GRID; k++) {
            turned[k * PDQ_SIDE + i] = matrix[i * PDQ_GRID + k];
            for (int j = 0; j < PDQ_GRID; j++)
                sums[j] = sums[j] + matrix[i * PDQ_GRID + k] * grid[k * PDQ_GRID + j];
        }
    }
    for (int i = 0; i < PDQ_SIDE; i++) {
        float *sums = out + i * PDQ_SIDE;
        memset(sums, 0, PDQ_SIDE * sizeof(float));
        for (int k = 0; k < PDQ_GRID; k++)
            for (int j = 0; j < PDQ_SIDE; j++)
                sums[j] = sums[j] + half[i * PDQ_GRID + k] * turned[k * PDQ_SIDE + j];
    }
}
