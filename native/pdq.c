/* PDQ: every float operation of the reference, in its order, but many pixels at a time.
 *
 * What is computed: accord/fingerprint/pdq.py. The reference keeps running sums in float, whose
 * rounding depends on the order of additions, so lanes run across rows where a sum runs along a
 * row, and across columns where it runs down a column: no sum is ever taken apart.
 * A product and a sum must stay two roundings: C11 without contraction (see hook.py).
 */
#include "pdq.h"

#include <string.h>

#if ACCORD_X86
#include <immintrin.h>
#endif

#define LANES 16 /* Rows at a time: two sums of 8 floats under way hide each other's wait. */
#define TILE 8   /* Columns at a time. */

typedef float f8 __attribute__((vector_size(32)));
typedef float f8_any __attribute__((vector_size(32), aligned(4))); /* Anywhere in memory. */

/* One box filter: output o is the mean of inputs o - behind .. o + before that exist. */
struct box {
    uint32_t size, window, before;
};

struct work {
    uint32_t width, height;
    uint32_t seen, made;    /* Rows that came in; rows that were filtered downwards once. */
    uint32_t slots;         /* Rows kept of the first pass. */
    uint32_t mask;          /* Columns kept of the current rows, less one: a power of two. */
    uint32_t padded;        /* Width to a whole tile. */
    struct box across, down;
    uint32_t pick_x[PDQ_GRID], pick_y[PDQ_GRID];
    float *columns;         /* (mask + 1) * LANES */
    float *rows;            /* slots * padded: along rows once. */
    float *sums;            /* padded: the running sums down the columns. */
    float *zeros;           /* padded */
    float *cells;           /* (height to whole batches) * PDQ_GRID: all but the last pass. */
};

static uint64_t up_to(uint64_t size, uint64_t step) { return (size + step - 1) / step * step; }

static struct box box_of(uint32_t size) {
    uint32_t window = (size + 2 * PDQ_GRID - 1) / (2 * PDQ_GRID);
    return (struct box){size, window, (window + 2) / 2 - 1};
}

static uint64_t lay_out(struct work *work, char *memory, uint32_t width, uint32_t height) {
    memset(work, 0, sizeof *work);
    work->width = width, work->height = height;
    work->across = box_of(width), work->down = box_of(height);
    work->padded = (uint32_t)up_to(width, TILE);
    work->slots = (uint32_t)up_to(work->down.window + 2 * LANES, LANES);
    work->mask = 2 * TILE - 1;
    while (work->mask + 1 < work->across.window + TILE) work->mask = 2 * work->mask + 1;
    for (uint32_t i = 0; i < PDQ_GRID; i++) {
        work->pick_x[i] = (uint32_t)((uint64_t)(2 * i + 1) * width / (2 * PDQ_GRID));
        work->pick_y[i] = (uint32_t)((uint64_t)(2 * i + 1) * height / (2 * PDQ_GRID));
    }
    uint64_t at = up_to(sizeof *work, 64);
    float **parts[] = {&work->columns, &work->rows, &work->sums, &work->zeros, &work->cells};
    uint64_t floats[] = {(uint64_t)(work->mask + 1) * LANES, (uint64_t)work->slots * work->padded,
                         work->padded, work->padded, up_to(height, LANES) * PDQ_GRID};
    for (int i = 0; i < 5; i++) {
        *parts[i] = (float *)(memory + at);
        at += up_to(floats[i] * sizeof(float), 64);
    }
    return at;
}

static int has_pdq(uint32_t width, uint32_t height) {
    return width >= PDQ_SIDE_MIN && height >= PDQ_SIDE_MIN && width <= PDQ_SIDE_MAX &&
           height <= PDQ_SIDE_MAX;
}

static int is_grid(const struct work *work) {
    return work->width == PDQ_GRID && work->height == PDQ_GRID; /* It is not filtered at all. */
}

/* ---- portable ---- */

#define TARGET
#define PATH(name) name##_portable

/* Shape: 8 rows of 8, `in_step` floats apart, become 8 columns. */
static void transpose_portable(const float *in, uint64_t in_step, float *out, uint64_t out_step) {
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++) out[j * out_step + i] = in[i * in_step + j];
}

static void luma_portable(const uint8_t *p, uint32_t channels, float *out) {
    if (channels == 1) {
        for (int i = 0; i < TILE; i++) out[i] = (float)p[i];
        return;
    }
    for (int i = 0; i < TILE; i++, p += channels)
        out[i] = (float)(299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000.0f;
}

#include "pdq_path.h"

#undef PATH
#undef TARGET

#if ACCORD_X86

/* ---- AVX2 ---- */

#define TARGET __attribute__((target("avx2")))
#define PATH(name) name##_avx2

static inline TARGET void transpose_avx2(const float *in, uint64_t in_step, float *out,
                                         uint64_t out_step) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(in + i * in_step);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * out_step, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * out_step, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

static inline TARGET void luma_avx2(const uint8_t *p, uint32_t channels, float *out) {
    if (channels == 1) {
        __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
        _mm256_storeu_ps(out, _mm256_cvtepi32_ps(v));
        return;
    }
    if (channels != 4) {
        for (int i = 0; i < TILE; i++, p += channels)
            out[i] = (float)(299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000.0f;
        return;
    }
    __m256i v = _mm256_loadu_si256((const __m256i *)p);
    __m256i red_blue = _mm256_and_si256(v, _mm256_set1_epi32(0x00ff00ff));
    __m256i green = _mm256_and_si256(_mm256_srli_epi32(v, 8), _mm256_set1_epi32(0xff));
    __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(red_blue, _mm256_set1_epi32(114 << 16 | 299)),
                                   _mm256_madd_epi16(green, _mm256_set1_epi32(587)));
    _mm256_storeu_ps(out, _mm256_div_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(1000.0f)));
}

#include "pdq_path.h"

#undef PATH
#undef TARGET

#define CHOOSE(path, name) ((path) >= ACCORD_AVX2 ? name##_avx2 : name##_portable)
#else
#define CHOOSE(path, name) ((void)(path), name##_portable)
#endif

/* ---- what is called ---- */

uint64_t accord_pdq_room(uint32_t width, uint32_t height) {
    struct work work;
    return has_pdq(width, height) ? lay_out(&work, (char *)0, width, height) : 0;
}

int32_t accord_pdq_begin(void *room, uint32_t width, uint32_t height) {
    if (!has_pdq(width, height)) return ACCORD_CORRUPT;
    struct work *work = room;
    lay_out(work, room, width, height);
    memset(work->sums, 0, work->padded * sizeof(float));
    memset(work->zeros, 0, work->padded * sizeof(float));
    return 0;
}

int32_t accord_pdq_rows(int32_t path, void *room, const uint8_t *pixels, uint64_t stride,
                        uint32_t channels, uint32_t rows) {
    struct work *work = room;
    const int is_last = rows == work->height - work->seen;
    if (rows > work->height - work->seen || (rows % LANES && !is_last)) return ACCORD_CORRUPT;
    if (channels != 1 && channels != 3 && channels != 4) return ACCORD_CORRUPT;
    while (rows) {
        uint32_t batch = rows < LANES ? rows : LANES;
        CHOOSE(path, take)(work, pixels, stride, channels, batch);
        pixels += batch * stride;
        rows -= batch;
    }
    return 0;
}

int32_t accord_pdq_finish(int32_t path, void *room, float *grid) {
    struct work *work = room;
    if (work->seen != work->height) return ACCORD_CORRUPT;
    if (is_grid(work))
        memcpy(grid, work->cells, PDQ_GRID * PDQ_GRID * sizeof(float));
    else
        CHOOSE(path, pick_down)(work, grid);
    return 0;
}

static int is_fold(const struct fold *fold) {
    if (fold->count == 0 || fold->count > fold->size) return 0;
    for (uint32_t i = 0; i < PDQ_GRID; i++)
        if (fold->start[i] > fold->size - fold->count) return 0;
    return 1;
}

int32_t accord_pdq_fold(int32_t path, const uint8_t *grey, uint64_t stride,
                        const struct fold *across, const struct fold *down, float *room,
                        float *grid) {
    if (!is_fold(across) || !is_fold(down) || stride < across->size) return ACCORD_CORRUPT;
    CHOOSE(path, fold)(grey, stride, across, down, room, grid);
    return 0;
}

int32_t accord_pdq_bits(int32_t path, const float *grid, const float *matrix, float *frequencies,
                        uint8_t *bits) {
    CHOOSE(path, transform)(grid, matrix, frequencies);
    CHOOSE(path, bits)(frequencies, bits);
    return CHOOSE(path, quality)(grid);
}
