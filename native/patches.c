/* Anchored patches: keypoints, their orientation and the samples around them.
 *
 * What is computed: accord/fingerprint/patches.py, to the last bit: every sum is taken in the order
 * written, in 32-bit float, a product and a sum stay two roundings (see hook.py).
 */
#include "patches.h"
#include "pdq.h"

#include <math.h>
#include <string.h>

#define SIDE_MAX 1024
#define SIDE_MIN 24    /* No octave is smaller. */
#define LEVELS (PATCH_BLURS + 1)
#define MIPS 6
#define PAD 64         /* Floats beside a row while it is filtered; no radius is larger. */
#define MOVES 4

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

#define TARGET
#define PATH(name) name##_portable
#include "patches_path.h"
#undef PATH
#undef TARGET

#if ACCORD_X86
#define TARGET __attribute__((target("avx2")))
#define PATH(name) name##_avx2
#include "patches_path.h"
#undef PATH
#undef TARGET
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
