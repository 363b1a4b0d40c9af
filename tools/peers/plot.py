"""Draws the medians of a measurement: for each work a bar for each program, all of one work against its longest."""

WIDTH, BAR, GAP, LEFT = 300, 15, 14, 110
#: What is drawn: a work, what it is called, which of its figures, and the unit of that.
DRAWN = [
    ("large", "first backup, 2 GB that compress", "cpu", "CPU s"),
    ("small", "first backup, 80,000 files", "cpu", "CPU s"),
    ("unchanged", "the same files, unchanged", "cpu", "CPU s"),
    ("content", "the same content under other names", "cpu", "CPU s"),
    ("restore", "restore of the 2 GB", "cpu", "CPU s"),
    ("check", "every byte verified", "cpu", "CPU s"),
    ("edits", "400 edits in 2 GB, added", "added", "MB"),
    ("large", "stored of the 2 GB", "stored", "MB"),
]


def panel(title, figures, unit, x, y):
    """Lines of one work: `figures` are (program, number)."""
    most = max(number for _, number in figures) or 1
    lines = [f'<text x="{x}" y="{y}" font-weight="bold">{title}</text>']
    for place, (program, number) in enumerate(figures):
        at = y + 8 + place * (BAR + 4)
        color = "#3f9a5b" if program == "onefold" else "#d8b4a0"
        long = max(1, round(WIDTH * number / most))
        shown = f"{number:.2f}" if number < 10 else f"{number:.0f}"
        lines.append(f'<text x="{x + LEFT - 8}" y="{at + 12}" text-anchor="end">{program}</text>')
        lines.append(f'<rect x="{x + LEFT}" y="{at}" width="{long}" height="{BAR}" fill="{color}"/>')
        lines.append(f'<text x="{x + LEFT + long + 6}" y="{at + 12}">{shown} {unit}</text>')
    return lines


def draw(measured):
    """The picture of what a measurement wrote, as text of SVG."""
    programs = list(measured["programs"])
    high = 8 + len(programs) * (BAR + 4) + GAP + 14
    lines, count = [], 0
    for work, title, figure, unit in DRAWN:
        medians = measured["medians"].get(work, {})
        scale = 1 if unit == "CPU s" else 1e6
        figures = [(p, medians[p][figure] / scale) for p in programs if figure in medians.get(p, {})]
        if len(figures) < 2:
            continue
        column, row = count % 2, count // 2
        lines += panel(title, figures, unit, 16 + column * (WIDTH + LEFT + 90), 28 + row * high)
        count += 1
    width, height = 2 * (WIDTH + LEFT + 90) + 16, 28 + (count + 1) // 2 * high
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" role="img">'
    title = "<title>CPU seconds and bytes of several programs for the same files; shorter is better</title>"
    back = f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>'
    return "\n".join([head, title, back, '<g fill="#123">', *lines, "</g>", "</svg>"]) + "\n"
