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

/* Rows `row` and `row + 1` of matrix * grid at 32 columns, each sum in order: eight sums under way
 * stay in registers. */
static inline TARGET void PATH(multiply)(const float *matrix, const float *grid, uint32_t step,
                                         float *out) {
    f8 first[4] = {{0}}, second[4] = {{0}};
    for (uint32_t k = 0; k < PDQ_GRID; k++, grid += step) {
        const float one = matrix[k], other = matrix[PDQ_GRID + k];
        for (int n = 0; n < 4; n++) {
            const f8 values = *(const f8_any *)(grid + n * TILE);
            first[n] = first[n] + one * values;
            second[n] = second[n] + other * values;
        }
    }
    for (int n = 0; n < 4; n++) {
        *(f8_any *)(out + n * TILE) = first[n];
        *(f8_any *)(out + step + n * TILE) = second[n];
    }
}

/* Frequencies 1 to 16 of both axes: matrix * grid * turned matrix, each sum in order. */
static TARGET void PATH(transform)(const float *grid, const float *matrix, float *out) {
    float half[PDQ_SIDE * PDQ_GRID], turned[PDQ_GRID * PDQ_SIDE];
    for (uint32_t i = 0; i < PDQ_SIDE; i++)
        for (uint32_t k = 0; k < PDQ_GRID; k++) turned[k * PDQ_SIDE + i] = matrix[i * PDQ_GRID + k];
    for (uint32_t i = 0; i < PDQ_SIDE; i += 2)
        for (uint32_t x = 0; x < PDQ_GRID; x += 4 * TILE)
            PATH(multiply)(matrix + i * PDQ_GRID, grid + x, PDQ_GRID, half + i * PDQ_GRID + x);
    for (uint32_t i = 0; i < PDQ_SIDE; i += 4) {
        f8 sums[8] = {{0}};
        for (uint32_t k = 0; k < PDQ_GRID; k++) {
            const f8 left = *(const f8_any *)(turned + k * PDQ_SIDE);
            const f8 right = *(const f8_any *)(turned + k * PDQ_SIDE + TILE);
            for (uint32_t n = 0; n < 4; n++) {
                const float weight = half[(i + n) * PDQ_GRID + k];
                sums[2 * n] = sums[2 * n] + weight * left;
                sums[2 * n + 1] = sums[2 * n + 1] + weight * right;
            }
        }
        for (uint32_t n = 0; n < 8; n++) *(f8_any *)(out + i * PDQ_SIDE + n * TILE) = sums[n];
    }
}

/* The 128th smallest of 256. A float's bits, the lower ones turned over where it is negative, are a
 * whole number of the same order, found from its highest bit down: 32 counts without a branch. */
static TARGET float PATH(median)(const float *values) {
    int32_t keys[PDQ_SIDE * PDQ_SIDE];
    memcpy(keys, values, sizeof keys);
    for (int i = 0; i < PDQ_SIDE * PDQ_SIDE; i++) keys[i] ^= (keys[i] >> 31) & INT32_MAX;
    uint32_t found = (uint32_t)INT32_MIN;
    for (int bit = 31; bit >= 0; bit--) {
        const int32_t trial = (int32_t)(found + (1u << bit));
        int32_t below = 0;
        for (int i = 0; i < PDQ_SIDE * PDQ_SIDE; i++) below += keys[i] < trial;
        if (below < PDQ_SIDE * PDQ_SIDE / 2) found = (uint32_t)trial;
    }
    int32_t key = (int32_t)found;
    key ^= (key >> 31) & INT32_MAX;
    float median;
    memcpy(&median, &key, sizeof median);
    return median;
}

static TARGET void PATH(bits)(const float *frequencies, uint8_t *bits) {
    const float median = PATH(median)(frequencies);
    for (int i = 0; i < PDQ_SIDE * PDQ_SIDE / 8; i++) {
        uint32_t byte = 0;
        for (int j = 0; j < 8; j++) byte |= (uint32_t)(frequencies[8 * i + j] > median) << j;
        bits[31 - i] = (uint8_t)byte;
    }
}

static inline TARGET int32_t PATH(steps_between)(const float *a, const float *b, int count) {
    int32_t sum = 0;
    for (int i = 0; i < count; i++) {
        const int32_t step = (int32_t)((a[i] - b[i]) * 100.0f / 255.0f);
        sum += step < 0 ? -step : step;
    }
    return sum;
}

static TARGET int32_t PATH(quality)(const float *grid) {
    int32_t sum = PATH(steps_between)(grid, grid + PDQ_GRID, PDQ_GRID * (PDQ_GRID - 1));
    for (int i = 0; i < PDQ_GRID; i++, grid += PDQ_GRID)
        sum += PATH(steps_between)(grid, grid + 1, PDQ_GRID - 1);
    return sum / 90 < 100 ? sum / 90 : 100;
}
