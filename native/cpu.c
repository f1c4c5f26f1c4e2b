/* What this processor can run. */
#include "accord.h"

int32_t accord_abi(void) { return ACCORD_ABI; }

/* The fastest path that processor and system support; -1 where the byte order is not ours. */
int32_t accord_best_path(void) {
    const uint16_t probe = 1;
    if (*(const uint8_t *)&probe != 1) return -1;
#if ACCORD_X86
    __builtin_cpu_init(); /* It asks the system too whether it saves the wide registers. */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("popcnt") ||
        !__builtin_cpu_supports("bmi"))
        return ACCORD_PORTABLE;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq"))
        return ACCORD_AVX512;
    return ACCORD_AVX2;
#else
    return ACCORD_PORTABLE;
#endif
}
