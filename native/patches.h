/* Anchored patches: structures shared with accord/fingerprint/patches_native.py. */
#ifndef ACCORD_PATCHES_H
#define ACCORD_PATCHES_H

#include "accord.h"

#define PATCH_SIDE 64    /* Samples a side of a patch. */
#define PATCH_TURNS 512  /* Steps of a whole turn in which orientations are given. */
#define PATCH_WINDOW 32  /* Samples a side of the window that an orientation is taken from. */
#define PATCH_BINS 36
#define PATCH_BLURS 5    /* Levels of an octave above its first. */

/* Units: pixels of the picture, the centre of the first at 0. */
struct spot {
    float x, y, scale, response;
};

/* Halves of Gaussian filters: that of blur i has `radius[i]` taps beside its middle, and lies at
 * `taps + first[i]`, middle first. Blur 0 makes the first level of the first octave, blur i level i
 * of any octave from the level before. */
struct blurs {
    uint32_t radius[PATCH_BLURS + 1], first[PATCH_BLURS + 1];
    float contrast; /* The least response. */
    float edge;     /* The greatest ratio trace^2 / determinant. */
    float scale;    /* Of the first level. */
    const float *taps;
    const float *powers; /* 2^((i / 32 - 1) / 3), i = 0 .. 64; then 2^(level / 3), level = 1 .. PATCH_BLURS. */
};

/* Floats of working memory for a picture; 0 if it has no patches. */
ACCORD_PUBLIC uint64_t accord_patches_room(uint32_t width, uint32_t height);

/* How many spots there are, of which the first `capacity` are given, in the order octave, level,
 * row, column. */
ACCORD_PUBLIC int32_t accord_patches_spots(int32_t path, const uint8_t *grey, uint64_t stride,
                                           uint32_t width, uint32_t height,
                                           const struct blurs *blurs, float *room,
                                           struct spot *spots, uint32_t capacity);

/* For each spot the steps of a turn of its strongest direction and of a second one, or -1.
 * Shape: weights PATCH_WINDOW^2. `reach` is the window's side in scales. */
ACCORD_PUBLIC int32_t accord_patches_turns(int32_t path, const uint8_t *grey, uint64_t stride,
                                           uint32_t width, uint32_t height, float *room,
                                           const struct spot *spots, uint32_t count, float reach,
                                           const float *weights, int32_t *turns);

/* PDQ's frequencies and quality of the square of `reach` scales around each spot, turned by steps
 * of a turn. Shape: turns (count), `circle` PATCH_TURNS pairs of cosine and sine, `matrix` as in
 * accord_pdq_bits, frequencies count * 256, quality (count). */
ACCORD_PUBLIC int32_t accord_patches_hashed(int32_t path, const uint8_t *grey, uint64_t stride,
                                            uint32_t width, uint32_t height, float *room,
                                            const struct spot *spots, const int32_t *turns,
                                            uint32_t count, float reach, const float *circle,
                                            const float *matrix, float *frequencies,
                                            int32_t *quality);

/* Bits in which each of `count` rows of 32 bytes differs from each of `others_count`. Shape: out
 * count * others_count. */
ACCORD_PUBLIC void accord_patches_apart(int32_t path, const uint8_t *some, uint64_t count,
                                        const uint8_t *others, uint64_t others_count,
                                        uint16_t *out);

#endif
