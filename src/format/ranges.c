#include "format/ranges.h"

#include <stdbool.h>

static bool before(const vlorpi_range *a, const vlorpi_range *b)
{
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
}

static void swap(vlorpi_range *a, vlorpi_range *b)
{
    vlorpi_range old = *a;
    *a = *b;
    *b = old;
}

/* Restores the heap (largest at the root) below i. */
static void sift_down(vlorpi_range *ranges, int64_t i, int64_t n)
{
    for (;;) {
        int64_t largest = i;
        for (int64_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++) {
            if (before(&ranges[largest], &ranges[child])) {
                largest = child;
            }
        }
        if (largest == i) {
            return;
        }
        swap(&ranges[i], &ranges[largest]);
        i = largest;
    }
}

void vlorpi_ranges_sort(vlorpi_range *ranges, int64_t n)
{
    bool sorted = true; /* as almost every file is */
    for (int64_t i = 1; i < n && sorted; i++) {
        sorted = !before(&ranges[i], &ranges[i - 1]);
    }
    if (sorted) {
        return;
    }
    for (int64_t i = n / 2 - 1; i >= 0; i--) {
        sift_down(ranges, i, n);
    }
    for (int64_t end = n - 1; end > 0; end--) {
        swap(&ranges[0], &ranges[end]);
        sift_down(ranges, 0, end);
    }
}

int64_t vlorpi_ranges_overlap(const vlorpi_range *ranges, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        if (ranges[i].begin < ranges[i - 1].end) {
            return i;
        }
    }
    return -1;
}
