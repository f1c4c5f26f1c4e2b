/* PDQ from pixels: structures shared with accord/fingerprint/pdq_native.py. */
#ifndef ACCORD_PDQ_H
#define ACCORD_PDQ_H

#include "accord.h"

#define PDQ_GRID 64  /* Cells a side that a picture is brought to. */
#define PDQ_SIDE 16  /* Frequencies a side that are kept. */
#define PDQ_SIDE_MIN 5
#define PDQ_SIDE_MAX 32768

/* What an axis of a scaled picture weighs in each cell. Shape: `start` PDQ_GRID, `weight`
 * PDQ_GRID * count; cell i is the sum over t < count of weight[i * count + t] * sample[start[i] + t],
 * added in that order. */
struct fold {
    uint32_t size;
    uint32_t count;
    const uint32_t *start;
    const float *weight;
};

/* Bytes of working memory for a picture of this size, to be aligned to 64; 0 if it has no PDQ. */
ACCORD_PUBLIC uint64_t accord_pdq_room(uint32_t width, uint32_t height);

/* The grid of a picture that comes in strips of rows: begin, rows until all were given, finish.
 * A strip has a multiple of 16 rows, but for the last. `channels` are bytes a pixel: 1 grey,
 * 3 or 4 red, green, blue and what is ignored. Below zero: the rows do not fit the picture. */
ACCORD_PUBLIC int32_t accord_pdq_begin(void *room, uint32_t width, uint32_t height);
ACCORD_PUBLIC int32_t accord_pdq_rows(int32_t path, void *room, const uint8_t *pixels,
                                      uint64_t stride, uint32_t channels, uint32_t rows);
ACCORD_PUBLIC int32_t accord_pdq_finish(int32_t path, void *room, float *grid);

/* The grid of a grey picture by weights. `room` holds PDQ_GRID * (across->size + 8) floats. */
ACCORD_PUBLIC int32_t accord_pdq_fold(int32_t path, const uint8_t *grey, uint64_t stride,
                                      const struct fold *across, const struct fold *down,
                                      float *room, float *grid);

/* A grid's frequencies, bits and quality. Shape: matrix PDQ_SIDE * PDQ_GRID, frequencies
 * PDQ_SIDE * PDQ_SIDE, bits 32 bytes in the order in which the reference prints them. */
ACCORD_PUBLIC int32_t accord_pdq_bits(int32_t path, const float *grid, const float *matrix,
                                      float *frequencies, uint8_t *bits);

#endif
