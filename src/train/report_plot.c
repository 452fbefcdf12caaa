#include "train/report_plot.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

enum { WIDTH = 560, HEIGHT = 220, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 28 };

/* The rectangle of data that an SVG shows. */
typedef struct frame {
    double last_x, low, high;
} frame;

void vlorpi_plot_add(vlorpi_plot_series *series, double x, double value)
{
    if (!isfinite(value) || !(x >= 0 && x <= series->last_x)) {
        return;
    }
    int column = series->last_x > 0 ? (int)(x / series->last_x * (VLORPI_PLOT_COLUMNS - 1)) : 0;
    series->sum[column] += value;
    series->n[column]++;
    series->first = series->n_points == 0 ? value : series->first;
    series->last = value;
    series->n_points++;
}

static double value_at(const vlorpi_plot_series *series, int column)
{
    return series->sum[column] / (double)series->n[column];
}

static void widen(frame *f, const vlorpi_plot_series *series)
{
    for (int c = 0; series != NULL && c < VLORPI_PLOT_COLUMNS; c++) {
        if (series->n[c] > 0) {
            f->low = fmin(f->low, value_at(series, c));
            f->high = fmax(f->high, value_at(series, c));
        }
    }
}

static double place_x(const frame *f, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (f->last_x > 0 ? x / f->last_x : 0);
}

static double place_y(const frame *f, double value)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (f->high - value) / (f->high - f->low);
}

/* 1, 2 or 5 times a power of ten, so that about n ticks cover the span. */
static double tick_step(double span, int n)
{
    double power = pow(10, floor(log10(span / n)));
    double part = span / n / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void draw_axes(FILE *out, const frame *f)
{
    double step = tick_step(f->high - f->low, 4);
    for (double v = ceil(f->low / step) * step; v <= f->high; v += step) {
        double shown = fabs(v) < 1e-9 * step ? 0 : v;
        (void)fprintf(out,
                      "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" "
                      "text-anchor=\"end\">%.4g</text>\n",
                      LEFT, WIDTH - RIGHT, place_y(f, v), place_y(f, v), LEFT - 6, place_y(f, v) + 4, shown);
    }
    step = fmax(1, f->last_x > 0 ? tick_step(f->last_x, 5) : 1);
    for (double x = 0; x <= f->last_x; x += step) {
        (void)fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", place_x(f, x), HEIGHT - 8, x);
    }
}

static void draw_curve(FILE *out, const frame *f, const vlorpi_plot_series *series, const char *class)
{
    int n_columns = 0;
    (void)fprintf(out, "<polyline class=\"%s\" points=\"", class);
    for (int c = 0; c < VLORPI_PLOT_COLUMNS; c++) {
        if (series->n[c] > 0) {
            double x = f->last_x * c / (VLORPI_PLOT_COLUMNS - 1);
            (void)fprintf(out, "%.1f,%.1f ", place_x(f, x), place_y(f, value_at(series, c)));
            n_columns++;
        }
    }
    (void)fputs("\"/>\n", out);
    for (int c = 0; c < VLORPI_PLOT_COLUMNS && n_columns <= 40; c++) { /* few points show as points */
        if (series->n[c] > 0) {
            (void)fprintf(out, "<circle class=\"%s\" r=\"2.5\" cx=\"%.1f\" cy=\"%.1f\"/>\n", class,
                          place_x(f, f->last_x * c / (VLORPI_PLOT_COLUMNS - 1)), place_y(f, value_at(series, c)));
        }
    }
}

void vlorpi_plot_draw(FILE *out, const char *title, const vlorpi_plot_series *series, const vlorpi_plot_series *second,
                      const char *second_name)
{
    if (series->n_points == 0) {
        return;
    }
    bool two = second != NULL && second->n_points > 0;
    frame f = {.last_x = series->last_x, .low = INFINITY, .high = -INFINITY};
    widen(&f, series);
    widen(&f, two ? second : NULL);
    double margin = f.high > f.low ? 0.05 * (f.high - f.low) : fmax(1e-12, 0.1 * fabs(f.high));
    f.low -= margin;
    f.high += margin;
    (void)fprintf(out, "<figure><figcaption>%s", title);
    if (two) {
        (void)fprintf(out, " <span class=\"key second\">%s</span>", second_name);
    }
    (void)fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over steps\">\n", WIDTH, HEIGHT,
                  title);
    draw_axes(out, &f);
    draw_curve(out, &f, series, "first");
    if (two) {
        draw_curve(out, &f, second, "second");
    }
    (void)fputs("</svg></figure>\n", out);
}
