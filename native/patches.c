/* Anchored patches: keypoints, their orientation and the samples around them.
 *
 * What is computed: accord/fingerprint/patches.py, to the last bit: every sum is taken in the order
 * written, in 32-bit float, a product and a sum stay two roundings (see hook.py).
 */
#include "patches.h"
#include "pdq.h"

#include <math.h>
#include <string.h>

#if ACCORD_X86
#include <immintrin.h>
#endif

#define SIDE_MAX 1024
#define SIDE_MIN 24    /* No octave is smaller. */
#define LEVELS (PATCH_BLURS + 1)
#define MIPS 6
#define PAD 64         /* Floats beside a row while it is filtered; no radius is larger. */
#define MOVES 4

typedef float f8 __attribute__((vector_size(32)));
typedef float f8_any __attribute__((vector_size(32), aligned(4))); /* Anywhere in memory. */

struct picture {
    uint32_t width, height;
    float *at;
};

static uint64_t area(uint32_t width, uint32_t height) { return (uint64_t)width * height; }

static int has_patches(uint32_t width, uint32_t height) {
    return width >= SIDE_MIN && height >= SIDE_MIN && width <= SIDE_MAX && height <= SIDE_MAX;
}

uint64_t accord_patches_room(uint32_t width, uint32_t height) {
    if (!has_patches(width, height)) return 0;
    /* An octave's levels, one between two passes, the next base; or all mip levels. */
    return area(width, height) * (LEVELS + PATCH_BLURS + 2) + 2 * SIDE_MAX + 4 * PAD;
}

/* ---- portable ---- */

/* Between pixels, along straight lines; beyond the edge as on it. */
static void sample_portable(const struct picture *p, const float *xs, const float *ys, int count,
                            float *out) {
    const int32_t width = (int32_t)p->width, last = width - 2, lowest = (int32_t)p->height - 2;
    const float right = (float)(width - 1), low = (float)(lowest + 1);
    for (int i = 0; i < count; i++) {
        float x = xs[i], y = ys[i];
        x = x < 0.0f ? 0.0f : x, y = y < 0.0f ? 0.0f : y;
        x = x > right ? right : x, y = y > low ? low : y;
        int32_t left = (int32_t)x, top = (int32_t)y;
        left = left < last ? left : last;
        top = top < lowest ? top : lowest;
        const float across = x - (float)left, down = y - (float)top;
        const float *from = p->at + (top * width + left); /* At most 1,024 each. */
        const float a = from[0], b = from[1], c = from[width], e = from[width + 1];
        const float above = a + across * (b - a), below = c + across * (e - c);
        out[i] = above + down * (below - above);
    }
}

#define TARGET
#define PATH(name) name##_portable
#include "patches_path.h"
#undef PATH
#undef TARGET
#undef WIDE

#if ACCORD_X86

/* ---- AVX2 ---- */

/* Eight at a time. Shape: count is a multiple of eight. */
static __attribute__((target("avx2,popcnt"))) void sample_avx2(const struct picture *p, const float *xs,
                                                        const float *ys, int count, float *out) {
    const int32_t width = (int32_t)p->width;
    const __m256 right = _mm256_set1_ps((float)(width - 1)), none = _mm256_setzero_ps();
    const __m256 low = _mm256_set1_ps((float)(p->height - 1));
    const __m256i last = _mm256_set1_epi32(width - 2);
    const __m256i lowest = _mm256_set1_epi32((int32_t)p->height - 2);
    const __m256i wide = _mm256_set1_epi32(width);
    for (int i = 0; i < count; i += 8) {
        const __m256 x = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(xs + i), none), right);
        const __m256 y = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(ys + i), none), low);
        const __m256i left = _mm256_min_epi32(_mm256_cvttps_epi32(x), last);
        const __m256i top = _mm256_min_epi32(_mm256_cvttps_epi32(y), lowest);
        const __m256 across = _mm256_sub_ps(x, _mm256_cvtepi32_ps(left));
        const __m256 down = _mm256_sub_ps(y, _mm256_cvtepi32_ps(top));
        const __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(top, wide), left);
        const __m256 a = _mm256_i32gather_ps(p->at, at, 4);
        const __m256 b = _mm256_i32gather_ps(p->at + 1, at, 4);
        const __m256 c = _mm256_i32gather_ps(p->at + width, at, 4);
        const __m256 e = _mm256_i32gather_ps(p->at + width + 1, at, 4);
        const __m256 above = _mm256_add_ps(a, _mm256_mul_ps(across, _mm256_sub_ps(b, a)));
        const __m256 below = _mm256_add_ps(c, _mm256_mul_ps(across, _mm256_sub_ps(e, c)));
        const __m256 between = _mm256_mul_ps(down, _mm256_sub_ps(below, above));
        _mm256_storeu_ps(out + i, _mm256_add_ps(above, between));
    }
}

#define TARGET __attribute__((target("avx2,popcnt")))
#define PATH(name) name##_avx2
#include "patches_path.h"
#undef PATH
#undef TARGET
#undef WIDE
#define CHOOSE(path, name) ((path) >= ACCORD_AVX2 ? name##_avx2 : name##_portable)
#else
#define CHOOSE(path, name) ((void)(path), name##_portable)
#endif

int32_t accord_patches_spots(int32_t path, const uint8_t *grey, uint64_t stride, uint32_t width,
                             uint32_t height, const struct blurs *blurs, float *room,
                             struct spot *spots, uint32_t capacity) {
    if (!has_patches(width, height)) return ACCORD_CORRUPT;
    return CHOOSE(path, spots)(grey, stride, width, height, blurs, room, spots, capacity);
}

int32_t accord_patches_turns(int32_t path, const uint8_t *grey, uint64_t stride, uint32_t width,
                             uint32_t height, float *room, const struct spot *spots,
                             uint32_t count, float reach, const float *weights, int32_t *turns) {
    if (!has_patches(width, height)) return ACCORD_CORRUPT;
    CHOOSE(path, turns)(grey, stride, width, height, room, spots, count, reach, weights, turns);
    return 0;
}

int32_t accord_patches_hashed(int32_t path, const uint8_t *grey, uint64_t stride, uint32_t width,
                              uint32_t height, float *room, const struct spot *spots,
                              const int32_t *turns, uint32_t count, float reach,
                              const float *circle, const float *matrix, float *frequencies,
                              int32_t *quality) {
    if (!has_patches(width, height)) return ACCORD_CORRUPT;
    struct picture mips[MIPS];
    float grid[PATCH_SIDE * PATCH_SIDE];
    uint8_t bits[32];
    CHOOSE(path, halve)(grey, stride, width, height, room, mips);
    for (uint32_t i = 0; i < count; i++) {
        if (turns[i] < 0 || turns[i] >= PATCH_TURNS) return ACCORD_CORRUPT;
        CHOOSE(path, grid)(mips, spots + i, reach, circle + 2 * turns[i], grid);
        quality[i] = accord_pdq_bits(path, grid, matrix, frequencies + (uint64_t)i * 256, bits);
        if (quality[i] < 0) return quality[i];
    }
    return 0;
}

void accord_patches_apart(int32_t path, const uint8_t *some, uint64_t count, const uint8_t *others,
                          uint64_t others_count, uint16_t *out) {
    CHOOSE(path, apart)(some, count, others, others_count, out);
}
