#include "kernel/optim_codes.h"

enum { DECADES = 7 };

/* The centre of cell `cell` of n in the decade that ends at `end`. */
static double centre(double end, int64_t cell, int64_t n)
{
    return end * (0.1 + 0.9 * ((double)cell + 0.5) / (double)n);
}

/* The piece that begins half way between two neighbours of the map. */
static vlorpi_code_piece piece(double below, double above, double slope, double offset, int64_t last)
{
    return (vlorpi_code_piece){(float)((below + above) / 2), (float)slope, (float)offset, (float)last};
}

static void set_value(vlorpi_code_map *map, bool is_signed, int64_t rank, double magnitude)
{
    map->values[is_signed ? VLORPI_CODE_ZERO + rank : rank] = (float)magnitude;
    if (is_signed && rank <= VLORPI_CODE_ZERO) {
        map->values[VLORPI_CODE_ZERO - rank] = rank > 0 ? (float)-magnitude : 0.0f;
    }
}

void vlorpi_code_map_make(vlorpi_code_map *map, bool is_signed)
{
    set_value(map, is_signed, 0, 0);
    map->pieces[0] = (vlorpi_code_piece){0};
    int64_t rank = 1;
    double below = 0;
    double end = 1e-6;
    for (int i = 0; i < DECADES; i++, end *= 10) {
        int64_t n = (is_signed ? 1 : 2) << i;
        double slope = (double)n / (0.9 * end);
        map->pieces[1 + i] =
            piece(below, centre(end, 0, n), slope, (double)rank - 0.1 * end * slope, rank + n - 1);
        for (int64_t cell = 0; cell < n; cell++) {
            below = centre(end, cell, n);
            set_value(map, is_signed, rank++, below);
        }
    }
    set_value(map, is_signed, rank, 1);
    map->pieces[1 + DECADES] = piece(below, 1, 0, (double)rank, rank);
}
