"""Line charts as SVG text, without a library."""
import math

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 360, 260, 52, 30, 40


def ticks(low, high, log):
    """Round values within [low, high]."""
    if log:
        steps = [m * 10 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
                 for m in (1, 2, 5)]
    else:
        size = 10 ** math.floor(math.log10(high - low))
        size = size if (high - low) / size >= 4 else size / 2 if (high - low) / size >= 2 else size / 5
        steps = [i * size for i in range(math.floor(low / size), math.ceil(high / size) + 1)]
    return [t for t in steps if low <= t <= high]


def panel(at, title, x_label, y_label, lines, log_x=False, log_y=False, zero=False):
    """SVG of one chart whose left upper corner is `at`; lines: {name: [(x, y), ...]}; a name that begins with "-"
    is dashed and has no markers."""
    points = [p for line in lines.values() for p in line]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = (0 if zero else min(p[1] for p in points)), max(p[1] for p in points)
    y0, y1 = (y0 / 1.2, y1 * 1.2) if log_y else (y0, y1 + 0.05 * (y1 - y0))

    def place(value, low, high, log, length):
        if log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low or 1) * length

    inner_w, inner_h = WIDTH - LEFT - 12, HEIGHT - TOP - BOTTOM

    def x_of(x):
        return at[0] + LEFT + place(x, x0, x1, log_x, inner_w)

    def y_of(y):
        return at[1] + TOP + inner_h - place(y, y0, y1, log_y, inner_h)

    out = [f'<text x="{at[0] + LEFT}" y="{at[1] + 18}" font-size="13">{title}</text>',
           f'<text x="{at[0] + LEFT + inner_w / 2}" y="{at[1] + HEIGHT - 6}" text-anchor="middle">{x_label}</text>',
           f'<text transform="translate({at[0] + 12},{at[1] + TOP + inner_h / 2}) rotate(-90)" '
           f'text-anchor="middle">{y_label}</text>']
    for t in ticks(y0, y1, log_y):
        out += [f'<line x1="{at[0] + LEFT}" x2="{at[0] + LEFT + inner_w}" y1="{y_of(t):.1f}" y2="{y_of(t):.1f}" '
                'stroke="#ddd"/>',
                f'<text x="{at[0] + LEFT - 4}" y="{y_of(t) + 4:.1f}" text-anchor="end">{t:g}</text>']
    x_ticks = sorted({p[0] for p in points}) if len({p[0] for p in points}) <= 8 else ticks(x0, x1, log_x)
    for t in x_ticks:
        out.append(f'<text x="{x_of(t):.1f}" y="{at[1] + HEIGHT - BOTTOM + 14}" text-anchor="middle">{t:g}</text>')
    for i, (name, line) in enumerate(lines.items()):
        dashed = name.startswith("-")
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
        if not dashed:
            out += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in line]
        out.append(f'<text x="{at[0] + LEFT + 6}" y="{at[1] + TOP + inner_h - 6 - 13 * i}" fill="{colour}">'
                   f'{name.lstrip("-")}</text>')
    return "\n".join(out)


def figure(panels, columns):
    """A whole SVG; panels: argument tuples and dictionaries of panel() without the place."""
    rows = (len(panels) + columns - 1) // columns
    body = [panel(((i % columns) * WIDTH, (i // columns) * HEIGHT), *args, **options)
            for i, (args, options) in enumerate(panels)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
            f'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(body) + "\n</svg>\n")
