/* The functions of patches.c for one processor: TARGET and PATH(name) are set by who includes it.
 * Plain loops without a dependency from one column to the next, which compilers make wide. */

#define WIDE 32 /* Columns whose sums stay in registers while all taps are gone through. */

static inline TARGET void PATH(taps)(const float *middle, const float *const *before,
                                     const float *const *after, uint32_t x, uint32_t width,
                                     const float *taps, uint32_t radius, float *out) {
    for (; x + WIDE <= width; x += WIDE) {
        f8 sums[WIDE / 8];
        for (int n = 0; n < WIDE / 8; n++) sums[n] = taps[0] * *(const f8_any *)(middle + x + 8 * n);
        for (uint32_t k = 1; k <= radius; k++) {
            const float tap = taps[k], *one = before[k] + x, *other = after[k] + x;
            for (int n = 0; n < WIDE / 8; n++)
                sums[n] = sums[n] + tap * (*(const f8_any *)(one + 8 * n) + *(const f8_any *)(other + 8 * n));
        }
        for (int n = 0; n < WIDE / 8; n++) *(f8_any *)(out + x + 8 * n) = sums[n];
    }
    for (; x < width; x++) {
        float sum = taps[0] * middle[x];
        for (uint32_t k = 1; k <= radius; k++) sum = sum + taps[k] * (before[k][x] + after[k][x]);
        out[x] = sum;
    }
}

static TARGET void PATH(along)(const float *in, float *out, uint32_t width, const float *taps,
                               uint32_t radius, float *padded) {
    float *row = padded + PAD;
    const float *before[PAD], *after[PAD];
    memcpy(row, in, width * sizeof(float));
    for (uint32_t k = 1; k <= radius; k++) {
        row[-(int32_t)k] = in[0], row[width - 1 + k] = in[width - 1];
        before[k] = row - k, after[k] = row + k;
    }
    PATH(taps)(row, before, after, 0, width, taps, radius, out);
}

/* `step` is what the blur changed, where that is asked for. */
static TARGET void PATH(blur)(const float *in, float *out, uint32_t width, uint32_t height,
                              const float *taps, uint32_t radius, float *between, float *padded,
                              float *step) {
    const float *before[PAD], *after[PAD];
    for (uint32_t y = 0; y < height; y++)
        PATH(along)(in + area(width, y), between + area(width, y), width, taps, radius, padded);
    for (uint32_t y = 0; y < height; y++) {
        const uint64_t at = area(width, y);
        for (uint32_t k = 1; k <= radius; k++) {
            before[k] = between + area(width, y < k ? 0 : y - k);
            after[k] = between + area(width, y + k < height ? y + k : height - 1);
        }
        PATH(taps)(between + at, before, after, 0, width, taps, radius, out + at);
        if (step)
            for (uint32_t x = 0; x < width; x++) step[at + x] = out[at + x] - in[at + x];
    }
}

/* Where a row's values are beyond the four beside them: most fall there. */
static TARGET void PATH(mark)(const float *row, uint32_t width, float least, uint8_t *marks) {
    const float *above = row - width, *below = row + width;
    for (uint32_t x = 1; x + 1 < width; x++) {
        const float v = row[x];
        const int is_top = (v > row[x + 1]) & (v > row[x - 1]) & (v > above[x]) & (v > below[x]);
        const int is_bottom = (v < row[x + 1]) & (v < row[x - 1]) & (v < above[x]) & (v < below[x]);
        marks[x] = (uint8_t)((is_top | is_bottom) & (fabsf(v) > least));
    }
}

/* Whether the middle is beyond all 26 around it. */
static inline TARGET int PATH(is_peak)(const float *const *d, uint32_t width, uint64_t at) {
    const float v = d[1][at];
    int is_top = 1, is_bottom = 1;
    for (int s = 0; s < 3; s++)
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                if (s == 1 && !dy && !dx) continue;
                const float w = d[s][(int64_t)at + dy * (int64_t)width + dx];
                is_top &= v > w, is_bottom &= v < w;
            }
    return is_top | is_bottom;
}

/* Where between samples the peak lies. 0 if it wanders off or is no good spot. */
static TARGET int PATH(refine)(float *const *d, uint32_t width, uint32_t height, uint32_t level,
                               uint32_t y, uint32_t x, const struct blurs *blurs, float octave,
                               struct spot *spot) {
    for (int move = 0; move < MOVES; move++) {
        const uint64_t at = area(width, y) + x;
        const float *a = d[level - 1] + at, *b = d[level] + at, *c = d[level + 1] + at;
        const int64_t w = width;
        const float v = b[0];
        const float gx = (b[1] - b[-1]) * 0.5f, gy = (b[w] - b[-w]) * 0.5f, gs = (c[0] - a[0]) * 0.5f;
        const float xx = (b[1] + b[-1]) - 2.0f * v, yy = (b[w] + b[-w]) - 2.0f * v;
        const float ss = (c[0] + a[0]) - 2.0f * v;
        const float xy = ((b[w + 1] - b[w - 1]) - (b[1 - w] - b[-w - 1])) * 0.25f;
        const float xs = ((c[1] - c[-1]) - (a[1] - a[-1])) * 0.25f;
        const float ys = ((c[w] - c[-w]) - (a[w] - a[-w])) * 0.25f;
        const float m0 = yy * ss - ys * ys, m1 = xs * ys - xy * ss, m2 = xy * ys - xs * yy;
        const float det = (xx * m0 + xy * m1) + xs * m2;
        if (det == 0.0f) return 0;
        const float n1 = xx * ss - xs * xs, n2 = xy * xs - xx * ys, n3 = xx * yy - xy * xy;
        const float ox = -(((m0 * gx + m1 * gy) + m2 * gs) / det);
        const float oy = -(((m1 * gx + n1 * gy) + n2 * gs) / det);
        const float os = -(((m2 * gx + n2 * gy) + n3 * gs) / det);
        const float reach = 0.6f;
        if (fabsf(ox) <= reach && fabsf(oy) <= reach && fabsf(os) <= reach) {
            const float response = v + 0.5f * ((gx * ox + gy * oy) + gs * os);
            if (fabsf(response) < blurs->contrast) return 0;
            const float trace = xx + yy, flat = xx * yy - xy * xy;
            if (flat <= 0.0f || trace * trace >= blurs->edge * flat) return 0;
            /* Scales between levels: 2^(os / 3) by a straight line between its tabled values. */
            const float place = (os + 1.0f) * 32.0f;
            const int32_t whole = (int32_t)place;
            const float part = place - (float)whole;
            const float power = blurs->powers[whole] + part * (blurs->powers[whole + 1] - blurs->powers[whole]);
            spot->x = ((float)x + ox) * octave + (octave - 1.0f) * 0.5f;
            spot->y = ((float)y + oy) * octave + (octave - 1.0f) * 0.5f;
            spot->scale = ((blurs->scale * octave) * blurs->powers[64 + level]) * power;
            spot->response = fabsf(response);
            return 1;
        }
        if (!(fabsf(ox) < 8.0f && fabsf(oy) < 8.0f && fabsf(os) < 8.0f)) return 0;
        const int32_t nx = (int32_t)x + (ox > reach) - (ox < -reach);
        const int32_t ny = (int32_t)y + (oy > reach) - (oy < -reach);
        const int32_t ns = (int32_t)level + (os > reach) - (os < -reach);
        if (nx < 1 || ny < 1 || nx > (int32_t)width - 2 || ny > (int32_t)height - 2 || ns < 1 ||
            ns > PATCH_BLURS - 2)
            return 0;
        x = (uint32_t)nx, y = (uint32_t)ny, level = (uint32_t)ns;
    }
    return 0;
}

static TARGET int32_t PATH(spots)(const uint8_t *grey, uint64_t stride, uint32_t width,
                                  uint32_t height, const struct blurs *blurs, float *room,
                                  struct spot *spots, uint32_t capacity) {
    const uint64_t whole = area(width, height);
    float *levels[LEVELS], *d[PATCH_BLURS], *padded = room, *base, *between;
    float *next = room + 2 * SIDE_MAX + 4 * PAD;
    for (int i = 0; i < LEVELS; i++) levels[i] = next, next += whole;
    for (int i = 0; i < PATCH_BLURS; i++) d[i] = next, next += whole;
    base = next, next += whole;
    uint8_t marks[SIDE_MAX];
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) base[area(width, y) + x] = (float)grey[y * stride + x];
    PATH(blur)(base, levels[0], width, height, blurs->taps + blurs->first[0], blurs->radius[0], d[0], padded, 0);
    between = base;
    uint32_t count = 0;
    for (float octave = 1.0f; width >= SIDE_MIN && height >= SIDE_MIN; octave = octave * 2.0f) {
        for (int i = 1; i < LEVELS; i++)
            PATH(blur)(levels[i - 1], levels[i], width, height, blurs->taps + blurs->first[i],
                       blurs->radius[i], between, padded, d[i - 1]);
        const float least = blurs->contrast * 0.5f;
        for (uint32_t level = 1; level + 1 < PATCH_BLURS; level++)
            for (uint32_t y = 1; y + 1 < height; y++) {
                PATH(mark)(d[level] + area(width, y), width, least, marks);
                const uint8_t *mark = marks, *const end = marks + width - 1;
                while ((mark = memchr(mark + 1, 1, (size_t)(end - mark - 1)))) {
                    const uint32_t x = (uint32_t)(mark - marks);
                    struct spot spot;
                    if (!PATH(is_peak)((const float *const *)d + level - 1, width, area(width, y) + x)) continue;
                    if (!PATH(refine)(d, width, height, level, y, x, blurs, octave, &spot)) continue;
                    if (count < capacity) spots[count] = spot;
                    count++;
                }
            }
        /* The level of twice the scale, every second pixel: the mean of four keeps the centre. */
        const float *from = levels[LEVELS - 3];
        const uint32_t half = width / 2;
        for (uint32_t y = 0; y < height / 2; y++)
            for (uint32_t x = 0; x < half; x++) {
                const float *p = from + area(width, 2 * y) + 2 * x;
                levels[0][area(half, y) + x] = ((p[0] + p[1]) + (p[width] + p[width + 1])) * 0.25f;
            }
        width = half, height = height / 2;
    }
    return (int32_t)count;
}

/* The picture at full, half, quarter size ... */
static TARGET void PATH(halve)(const uint8_t *grey, uint64_t stride, uint32_t width,
                               uint32_t height, float *room, struct picture *mips) {
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) room[area(width, y) + x] = (float)grey[y * stride + x];
    mips[0] = (struct picture){width, height, room};
    for (int i = 1; i < MIPS; i++) {
        const struct picture *in = mips + i - 1;
        struct picture *out = mips + i;
        *out = *in;
        if (in->width < 4 || in->height < 4) continue; /* It stays as it is; nobody asks for it. */
        *out = (struct picture){in->width / 2, in->height / 2, in->at + area(in->width, in->height)};
        for (uint32_t y = 0; y < out->height; y++)
            for (uint32_t x = 0; x < out->width; x++) {
                const float *p = in->at + area(in->width, 2 * y) + 2 * x;
                out->at[area(out->width, y) + x] = ((p[0] + p[1]) + (p[in->width] + p[in->width + 1])) * 0.25f;
            }
    }
}

/* The mip level whose pixels are at most one and more than half a step, and the divisor to it. */
static inline TARGET const struct picture *PATH(level_for)(const struct picture *mips, float step,
                                                           float *divisor) {
    int i = 0;
    *divisor = 1.0f;
    while (i + 1 < MIPS && step >= 2.0f * *divisor) i++, *divisor = *divisor * 2.0f;
    return mips + i;
}

static TARGET void PATH(turns)(const uint8_t *grey, uint64_t stride, uint32_t width,
                               uint32_t height, float *room, const struct spot *spots,
                               uint32_t count, float reach, const float *weights, int32_t *turns) {
    struct picture mips[MIPS];
    PATH(halve)(grey, stride, width, height, room, mips);
    for (uint32_t n = 0; n < count; n++) {
        const struct spot *s = spots + n;
        const float step = (s->scale * reach) / (float)PATCH_WINDOW;
        float divisor, window[PATCH_WINDOW * PATCH_WINDOW];
        const struct picture *p = PATH(level_for)(mips, step, &divisor);
        const float shift = (divisor - 1.0f) * 0.5f, part_of = 1.0f / divisor; /* A power of two. */
        float x[PATCH_WINDOW], y[PATCH_WINDOW];
        for (int i = 0; i < PATCH_WINDOW; i++) x[i] = (s->x + ((float)i - 15.5f) * step - shift) * part_of;
        for (int j = 0; j < PATCH_WINDOW; j++) {
            const float down = (s->y + ((float)j - 15.5f) * step - shift) * part_of;
            for (int i = 0; i < PATCH_WINDOW; i++) y[i] = down;
            PATH(sample)(p, x, y, PATCH_WINDOW, window + j * PATCH_WINDOW);
        }
        float bins[PATCH_BINS] = {0}, smooth[PATCH_BINS];
        for (int j = 1; j < PATCH_WINDOW - 1; j++)
            for (int i = 1; i < PATCH_WINDOW - 1; i++) {
                const float *at = window + j * PATCH_WINDOW + i;
                const float weight = weights[j * PATCH_WINDOW + i];
                if (weight == 0.0f) continue;
                const float gx = at[1] - at[-1], gy = at[PATCH_WINDOW] - at[-PATCH_WINDOW];
                const float ax = fabsf(gx), ay = fabsf(gy);
                const float greater = ax > ay ? ax : ay, lesser = ax > ay ? ay : ax;
                if (greater == 0.0f) continue;
                const float t = lesser / greater, u = t * t;
                /* The arc tangent of 0 to 1 in eighths of a turn, to 2e-3. */
                float bin = t * (1.0f + u * (-0.2733f + u * (0.0587f)))* 1.2733f;
                if (ay > ax) bin = 2.0f - bin;
                if (gx < 0.0f) bin = 4.0f - bin;
                if (gy < 0.0f) bin = 8.0f - bin;
                bin = bin * 4.5f;
                int32_t low = (int32_t)bin;
                const float part = bin - (float)low;
                const float strength = sqrtf(gx * gx + gy * gy) * weight;
                bins[low % PATCH_BINS] += strength * (1.0f - part);
                bins[(low + 1) % PATCH_BINS] += strength * part;
            }
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < PATCH_BINS; i++)
                smooth[i] = (bins[(i + 35) % PATCH_BINS] + bins[i]) + bins[(i + 1) % PATCH_BINS];
            memcpy(bins, smooth, sizeof bins);
        }
        int best[2] = {-1, -1};
        for (int i = 0; i < PATCH_BINS; i++) {
            if (!(bins[i] > bins[(i + 35) % PATCH_BINS] && bins[i] >= bins[(i + 1) % PATCH_BINS])) continue;
            if (best[0] < 0 || bins[i] > bins[best[0]]) best[1] = best[0], best[0] = i;
            else if (best[1] < 0 || bins[i] > bins[best[1]]) best[1] = i;
        }
        if (best[1] >= 0 && bins[best[1]] < 0.8f * bins[best[0]]) best[1] = -1;
        for (int k = 0; k < 2; k++) {
            turns[2 * n + k] = -1;
            if (best[k] < 0) continue;
            const float l = bins[(best[k] + 35) % PATCH_BINS], m = bins[best[k]], r = bins[(best[k] + 1) % PATCH_BINS];
            const float flat = (l - 2.0f * m) + r;
            const float peak = (float)best[k] + (flat == 0.0f ? 0.0f : 0.5f * (l - r) / flat);
            const int32_t steps = (int32_t)((peak + 36.0f) * (512.0f / 36.0f) + 0.5f);
            turns[2 * n + k] = steps % PATCH_TURNS;
        }
    }
}

static TARGET void PATH(grid)(const struct picture *mips, const struct spot *s, float reach,
                              const float *direction, float *grid) {
    const float step = (s->scale * reach) / (float)PATCH_SIDE;
    float divisor, x[PATCH_SIDE], y[PATCH_SIDE];
    const struct picture *p = PATH(level_for)(mips, step, &divisor);
    const float shift = (divisor - 1.0f) * 0.5f, part_of = 1.0f / divisor; /* A power of two. */
    const float c = direction[0] * step, d = direction[1] * step;
    for (int j = 0; j < PATCH_SIDE; j++) {
        const float v = (float)j - 31.5f, vc = v * c, vd = v * d;
        for (int i = 0; i < PATCH_SIDE; i++) {
            const float u = (float)i - 31.5f;
            x[i] = (s->x + (u * c - vd) - shift) * part_of;
            y[i] = (s->y + (u * d + vc) - shift) * part_of;
        }
        PATH(sample)(p, x, y, PATCH_SIDE, grid + j * PATCH_SIDE);
    }
}

static TARGET void PATH(apart)(const uint8_t *some, uint64_t count, const uint8_t *others,
                               uint64_t others_count, uint16_t *out) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t one[4], other[4];
        memcpy(one, some + 32 * i, sizeof one);
        for (uint64_t j = 0; j < others_count; j++) {
            memcpy(other, others + 32 * j, sizeof other);
            int bits = 0;
            for (int word = 0; word < 4; word++) bits += __builtin_popcountll(one[word] ^ other[word]);
            *out++ = (uint16_t)bits;
        }
    }
}
