/* The kernel: what Accord computes in C because it is the bill of those who run it.
 *
 * Every function here has a twin in Python that defines its answer; tests hold the two together.
 * Rules: C11, no allocation that outlives a call, no global state, no input trusted to be in range.
 * Each path of a function is compiled for its processor by target attributes, and the caller names
 * the path, so one library serves every machine of an architecture.
 */
#ifndef ACCORD_H
#define ACCORD_H

#include <stdint.h>

#define ACCORD_ABI 3 /* Raised with every change of a signature or a structure. */

enum { ACCORD_PORTABLE = 0, ACCORD_AVX2 = 1, ACCORD_AVX512 = 2 };

/* Answers below zero. */
enum { ACCORD_NO_MEMORY = -1, ACCORD_CORRUPT = -2 };

#if defined(__GNUC__)
#define ACCORD_PUBLIC __attribute__((visibility("default")))
#else
#define ACCORD_PUBLIC
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define ACCORD_X86 1
#else
#define ACCORD_X86 0
#endif

ACCORD_PUBLIC int32_t accord_abi(void);
ACCORD_PUBLIC int32_t accord_best_path(void);

#endif
