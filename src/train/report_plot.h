/* report_plot.h - a curve of fixed width from any number of points, drawn as SVG.
 *
 * Layer 6, private to the report.
 */
#ifndef VLORPI_TRAIN_REPORT_PLOT_H
#define VLORPI_TRAIN_REPORT_PLOT_H

#include <stdint.h>
#include <stdio.h>

enum { VLORPI_PLOT_COLUMNS = 480 };

/* Points that fall into one column are averaged.  Zero-initialise, last_x set. */
typedef struct vlorpi_plot_series {
    double last_x; /* x runs from 0 to this */
    double sum[VLORPI_PLOT_COLUMNS];
    int64_t n[VLORPI_PLOT_COLUMNS];
    double first, last; /* values */
    int64_t n_points;
} vlorpi_plot_series;

/* Values that are not finite are left out. */
void vlorpi_plot_add(vlorpi_plot_series *series, double x, double value);

/* One <figure> with an inline SVG; second (a second curve on the same axes) may be NULL or empty.  Nothing for a
 * series without points. */
void vlorpi_plot_draw(FILE *out, const char *title, const vlorpi_plot_series *series, const vlorpi_plot_series *second,
                      const char *second_name);

#endif
