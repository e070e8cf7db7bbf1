"""The loop that a C programmer would write: one table entry for each bin, nothing else."""

SOURCE = r"""
#include <math.h>
#include <stddef.h>
#include <stdint.h>

size_t decode(const uint8_t *data, size_t count, float *dbm, float *first_mhz) {
    static float table[256];
    if (table[2] == 0)
        for (int value = 1; value < 256; value++)
            table[value] = 20 * log10f((float)value);
    for (size_t n = 0; n < count; n++, data += 76, dbm += 56) {
        const uint8_t *bins = data + 20;
        uint32_t squares = 0;
        for (int i = 0; i < 56; i++)
            squares += (uint32_t)bins[i] * bins[i];
        float base = (int8_t)data[7] + (int8_t)data[6] - 10 * log10f(squares ? (float)squares : 1.0f);
        for (int i = 0; i < 56; i++)
            dbm[i] = base + table[bins[i]];
        first_mhz[n] = (data[4] << 8 | data[5]) - 28 * 0.34375f;
    }
    return count;
}
"""
