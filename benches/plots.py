"""Plots of the results, each for light and for dark pages. Nothing is told by
colour alone: lines have markers, bars have names, values stand beside them."""

import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 - the back end comes first

THEMES = {
    "light": {"text": "#1f2328", "grid": "#d0d7de", "ours": "#0550ae", "other": "#9a6700"},
    "dark": {"text": "#e6edf3", "grid": "#30363d", "ours": "#79c0ff", "other": "#e3b341"},
}
CURVES = {
    "items": ("items", "µs an item, whole command"),
    "payload": ("bytes each way", "µs an item"),
    "workers": ("workers on two processors", "tasks of 1 ms a second"),
    "touched": ("bytes of memory written to", "µs a task"),
    "failures": ("of 100 items fail", "µs an item"),
}


def settings(theme):
    text, grid = theme["text"], theme["grid"]
    return {
        "text.color": text, "axes.labelcolor": text, "xtick.color": text, "ytick.color": text,
        "axes.edgecolor": grid, "grid.color": grid, "axes.spines.top": False, "axes.spines.right": False,
        "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "wpool", "figure.facecolor": "none",
        "axes.facecolor": "none", "savefig.facecolor": "none",
    }


def bars(axes, pairs, theme, label):
    names = [name for name, _ in pairs]
    for at, (name, value) in enumerate(pairs):
        ours = "wpool" in name
        axes.barh(at, value, color=theme["ours" if ours else "other"], hatch=None if ours else "//", edgecolor=theme["grid"])
        text = f" {value:,.0f}".replace(",", " ") if value >= 100 else f" {value:.3g}"
        axes.text(value, at, text, va="center", color=theme["text"])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.margins(x=0.15)
    axes.grid(axis="x", linewidth=0.5)
    axes.set_axisbelow(True)


def runners(rates, theme):
    figure, axes = plt.subplots(figsize=(7.5, 0.32 * len(rates) + 0.8))
    bars(axes, rates, theme, "tasks a second, one task a message, 2 workers (logarithmic)")
    return figure


def interpreters(results, theme):
    pairs = [(name.replace("`", ""), value) for name, value in results["interpreters"] if value is not None]
    figure, axes = plt.subplots(figsize=(7.5, 0.32 * len(pairs) + 0.8))
    bars(axes, pairs, theme, "µs a task (logarithmic)")
    return figure


def curve(axes, points, theme, style="ours", marker="o", label=None):
    xs, ys = zip(*points)
    axes.plot(xs, ys, marker=marker, color=theme[style], linewidth=1.2, markersize=4, label=label,
              linestyle="-" if style == "ours" else "--")


def growth(results, theme):
    figure, grid = plt.subplots(3, 2, figsize=(7.5, 8.2), layout="constrained")
    places = list(grid.flat)
    for axes, (name, (across, up)) in zip(places, CURVES.items()):
        if name not in results:
            axes.set_visible(False)
            continue
        curve(axes, results[name], theme)
        if name in ("workers", "failures"):
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
            if results[name][0][0] == 0:
                axes.set_xscale("symlog", linthresh=results[name][1][0])
                axes.set_xlim(left=0)
            else:
                axes.set_xscale("log")
        axes.set(xlabel=across, ylabel=up)
        axes.grid(linewidth=0.5)
    if "modules" in results:
        axes = places[-1]
        curve(axes, results["modules"]["compiled"], theme, "other", "s", "first start")
        curve(axes, results["modules"]["cached"], theme, label="from the cache")
        axes.set(xlabel="bytes of the module", ylabel="ms to the first result", xscale="log", yscale="log")
        axes.grid(linewidth=0.5)
        axes.legend(frameon=False)
    return figure


def draw(results, rates, folder: pathlib.Path):
    figures = {"runners": lambda theme: runners(rates, theme), "growth": lambda theme: growth(results, theme)}
    if "interpreters" in results:
        figures["interpreters"] = lambda theme: interpreters(results, theme)
    for name, make in figures.items():
        for mode, theme in THEMES.items():
            with plt.rc_context(settings(theme)):
                figure = make(theme)
                figure.savefig(folder / f"{name}-{mode}.svg", bbox_inches="tight", metadata={"Date": None})
                plt.close(figure)
