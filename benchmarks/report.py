"""Results in JSON to Markdown tables and plots: `python -m benchmarks.report`.

It reads benchmarks/results/*.json, writes PNG files beside them in benchmarks/ and the
tables between the two marks in benchmarks/README.md; the ratios of a comparison with
the plain server also stand between the same marks of the main README.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
OURS = "ours"
# What is no peer: the load generator's ceiling, and loops without HTTP.
NO_PEERS = ("noop", "generate-fp32", "generate-bf16")
COLOURS = {
    **{"ours": "#d62728", "plain": "#7f7f7f", "litserve": "#1f77b4", "ray": "#9467bd"},
    **{"bentoml": "#2ca02c", "mosec": "#ff7f0e", "onnx": "#8c564b"},
    **{"generate": "#111111"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    options = parser.parse_args()
    write(options.results, options.readme)


def write(folder: Path, readme: Path) -> None:
    """Write tables into a README and the plots beside it."""
    sections, short = [], []
    for path in sorted(folder.glob("*.json")):
        results = json.loads(path.read_text())
        kind = results.get("kind")
        if kind == "http":
            sections.append(http_section(path.stem, results, readme.parent))
            if "plain" in results["servers"]:
                short.append(ratio_table(results["servers"]))
        elif kind == "engine":
            sections.append(engine_section(path.stem, results, readme.parent))
        elif kind == "start":
            sections.append(start_section(path.stem, results))
        elif kind == "command":
            sections.append(command_section(path.stem, results))
        elif kind == "captions":
            sections.append(captions_section(path.stem, results))
        elif kind == "exact":
            sections.append(exact_section(path.stem, results))
    fill(readme, "\n".join(sections))
    fill(readme.parent.parent / "README.md", "\n\n".join(short) + "\n")


def fill(path: Path, text: str) -> None:
    """Put a text between the marks of a file that has them."""
    old = path.read_text() if path.exists() else ""
    if BEGIN in old:
        head, _, rest = old.partition(BEGIN)
        tail = rest.partition(END)[2]
        path.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def about(results: dict) -> str:
    """Return the machine, versions and settings in two sentences."""
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    where = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB"
    if machine["gpu"]:
        where = f"{machine['gpu'].replace(', ', ', driver ')}; {where}"
    told = ", ".join(
        f"{name} {settings[name]}"
        for name in ("checkpoint", "rounds", "seconds", "pictures")
        if name in settings
    )
    return (
        f"Measured {machine['date'][:10]} on {where}.\n"
        f"Python {machine['python']}, {versions}; {told}.\n"
    )


def http_section(name: str, results: dict, folder: Path) -> str:
    servers = results["servers"]
    plot_clients(servers, folder, name)
    parts = [f"## {name}: servers\n", about(results), server_table(servers), ""]
    parts += [ratio_table(servers), "", notes(servers)]
    parts += [f"![pictures a second by clients]({name}-rate.png)"]
    parts += [f"![median seconds by clients]({name}-p50.png)", ""]
    return "\n".join(parts)


def steps(servers: dict, name: str) -> dict:
    """Return a server's median figures by number of clients; empty where it failed."""
    return servers.get(name, {}).get("median", {}).get("steps", {})


def counts(servers: dict) -> list[str]:
    """Return the numbers of clients, smallest first."""
    found = {
        n for name in servers if name not in NO_PEERS for n in steps(servers, name)
    }
    return sorted(found, key=int)


def server_table(servers: dict) -> str:
    """Return a row for each server: start, memory, and rate and p50 by clients."""
    clients = counts(servers)
    head = [
        "server",
        "ready s",
        "memory GB",
        *(f"at {n}: /s, p50, p99" for n in clients),
    ]
    head += ["errors", "captions as fp32, bf16"]
    rows = []
    for name, result in servers.items():
        if name in NO_PEERS or "median" not in result:
            continue
        median, mine = result["median"], steps(servers, name)
        cells = [name, f"{median['ready_seconds']:.1f}", memory(median)]
        cells += [cell(mine.get(number)) for number in clients]
        errors = sum(sum(step["errors"].values()) for step in mine.values())
        rows.append([*cells, str(errors), agreement(result)])
    return table(head, rows)


def rates(servers: dict, names) -> list[float]:
    return [s["per_second"] for name in names for s in steps(servers, name).values()]


def cell(step: dict | None) -> str:
    if not step:
        return ""
    waits = (seconds(step[key]) for key in ("p50_seconds", "p99_seconds"))
    return f"{step['per_second']:.1f}, {', '.join(waits)}"


def seconds(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.{1 if value < 10 else 0}f} s"


def memory(median: dict) -> str:
    text = f"{median.get('memory_mb', 0) / 1000:.1f}"
    if "gpu_memory_mb" in median:
        text += f" + {median['gpu_memory_mb'] / 1000:.1f} GPU"
    return text


def agreement(result: dict) -> str:
    shares = (result["captions"].get(f"as_{dtype}") for dtype in ("fp32", "bf16"))
    return ", ".join("-" if share is None else f"{share:.0%}" for share in shares)


def best(servers: dict, clients: str, suffixes: tuple[str, ...]) -> tuple[str, dict]:
    """Return the peer of the highest rate among those of a number type."""
    found = [
        (name, steps(servers, name)[clients])
        for name in servers
        if name.endswith(suffixes) and name not in NO_PEERS
        if clients in steps(servers, name)
    ]
    return max(found, key=lambda pair: pair[1]["per_second"], default=("", {}))


def ratio_table(servers: dict) -> str:
    """Return how many times our throughput is that of others, by clients."""
    head = ["clients", "ours: /s", "p50", "rate of plain", "p50 of plain", "best peer"]
    head += ["best bf16 peer", "best `generate` loop"]
    loop = max(rates(servers, NO_PEERS[1:]), default=0.0)
    rows = []
    for number in counts(servers):
        mine = steps(servers, OURS).get(number)
        if not mine:
            continue
        plain = steps(servers, "plain").get(number)
        peers = [best(servers, number, ("-fp32",)), best(servers, number, ("-bf16",))]
        row = [number, f"{mine['per_second']:.1f}", seconds(mine["p50_seconds"])]
        row += [times(mine, plain), times(plain, mine, "p50_seconds")]
        row += [f"{times(mine, step)} {name}" for name, step in peers]
        rows.append([*row, times(mine, {"per_second": loop})])
    return table(head, rows)


def times(one: dict, other: dict | None, key: str = "per_second") -> str:
    """Return how many times a figure is another."""
    if not one or not other or not other[key]:
        return "-"
    return f"{one[key] / other[key]:.1f}x"


def notes(servers: dict) -> str:
    """Return a line for each loop, for the load generator, for who did not run."""
    lines = []
    for name in NO_PEERS[1:]:
        texts = (
            f"{step['per_second']:.1f}/s in batches of {size}"
            for size, step in steps(servers, name).items()
        )
        if text := ", ".join(texts):
            lines.append(f"- `{name}`, a loop without HTTP: {text}.")
    ceilings = rates(servers, ["noop"])
    highest = rates(servers, [name for name in servers if name not in NO_PEERS])
    if highest and ceilings:
        lines.append(
            f"- The load generator gets {min(ceilings):.0f} to {max(ceilings):.0f} "
            "answers a second from a server that does nothing; the most measured is "
            f"{max(highest):.0f}."
        )
    for name, result in servers.items():
        errors = [entry["error"] for entry in result["rounds"] if "error" in entry]
        if errors:
            lines.append(f"- {name}: {errors[0].splitlines()[0]}")
    return "\n".join(lines) + "\n"


def engine_section(name: str, results: dict, folder: Path) -> str:
    plot_roofline(results, folder / f"{name}-roofline.png")
    plot_decoding(results["decoding"], folder / f"{name}-pictures.png")
    rows = [
        [
            size,
            f"{1000 * figures['seconds']:.1f}",
            f"{figures['per_second']:.1f}",
            f"{1000 * figures['bound_seconds']:.2f}",
            f"{figures['bound_seconds'] / figures['seconds']:.0%}",
        ]
        for size, figures in results["batches"].items()
    ]
    parts = [f"## {name}: the model alone\n", about(results), ceilings(results), ""]
    parts += [table(["batch", "ms", "pictures/s", "bound ms", "of the roofline"], rows)]
    parts += ["", f"![FLOP/s by intensity]({name}-roofline.png)"]
    parts += [f"![decoding by picture size]({name}-pictures.png)", ""]
    return "\n".join(parts)


def start_section(name: str, results: dict) -> str:
    head = ["weights", "bare script s", "/ping answers s", "ready s", "of the script"]
    rows = [
        [
            weights,
            *(f"{figures[key]:.2f}" for key in ("bare", "ping", "ready")),
            f"{figures['ready'] / figures['bare']:.2f}x",
        ]
        for weights, figures in results["median"].items()
    ]
    return "\n".join([f"## {name}\n", about(results), table(head, rows), ""])


def command_section(name: str, results: dict) -> str:
    head = ["model", "loop /s", "flask predict /s", "share", "MB at 1/4, at 9/10"]
    rows = [
        [
            model,
            f"{figures['loop']:.1f}",
            f"{figures['command']:.1f}",
            f"{figures['share']:.0%}",
            f"{figures['early_mb']:.0f}, {figures['late_mb']:.0f}",
        ]
        for model, figures in results["median"].items()
    ]
    return "\n".join([f"## {name}\n", about(results), table(head, rows), ""])


def captions_section(name: str, results: dict) -> str:
    rows = [
        [way, *(f"{share:.2%}" for share in shares.values())]
        for way, shares in results["figures"].items()
    ]
    head = ["arithmetic, JPEG", "right word for word", "as the first line"]
    return "\n".join([f"## {name}\n", about(results), table(head, rows), ""])


def exact_section(name: str, results: dict) -> str:
    rows = []
    for weights, found in results["figures"].items():
        different = found["different"].values()
        row = weights, found["captions"], found["lengths"], len(different)
        rows.append([*map(str, row), str(sum(different))])
    head = ["weights", "captions", "lengths", "ways searched", "differ from `generate`"]
    return "\n".join([f"## {name}\n", about(results), table(head, rows), ""])


def ceilings(results: dict) -> str:
    text = (
        f"{results['dtype']} on {results['device']}: matrices multiply at "
        f"{results['flops'] / 1e12:.2f} TFLOP/s, memory copies at "
        f"{results['bytes_per_second'] / 1e9:.0f} GB/s, all cores decode "
        f"{results['decoded_per_second']:.0f} pictures/s; the model loads in "
        f"{results['load_seconds']:.1f} s"
    )
    if "gpu_memory_mb" in results:
        text += f" and takes {results['gpu_memory_mb'] / 1000:.1f} GB of the GPU"
    return text + ".\n"


def figure(horizontal: str, vertical: str):
    """Return a logarithmic plot and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogFormatter

    drawing, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel=horizontal, ylabel=vertical)
    axes.grid(alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    return drawing, axes


def save(drawing, path: Path) -> None:
    from matplotlib import pyplot

    drawing.savefig(path, dpi=110)
    pyplot.close(drawing)


def plot_clients(servers: dict, folder: Path, name: str) -> None:
    for key, label, file in (
        ("per_second", "pictures a second", "rate"),
        ("p50_seconds", "median seconds to the answer", "p50"),
    ):
        drawing, axes = figure("clients", label)
        for server in servers:
            mine = steps(servers, server)
            if server in NO_PEERS or not mine:
                continue
            kind, _, dtype = server.partition("-")
            style = {"color": COLOURS.get(kind), "marker": "o", "label": server}
            style["linestyle"] = "--" if dtype == "bf16" else "-"
            style["linewidth"] = 3 if server == OURS else 1.2
            axes.plot([int(n) for n in mine], [s[key] for s in mine.values()], **style)
        axes.legend(fontsize=7, ncols=2)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        axes.set_xticks([int(number) for number in counts(servers)], counts(servers))
        save(drawing, folder / f"{name}-{file}.png")


def plot_roofline(results: dict, path: Path) -> None:
    """Draw FLOP/s over FLOP per byte under the machine's two ceilings."""
    drawing, axes = figure("FLOP per byte read or written", "TFLOP/s")
    peak, bandwidth = results["flops"] / 1e12, results["bytes_per_second"] / 1e12
    points = [
        (size, each["flop"] / each["bytes"], each["flop"] / each["seconds"] / 1e12)
        for size, each in results["batches"].items()
    ]
    ends = [min(x for _, x, _ in points) / 3, max(x for _, x, _ in points) * 3]
    ends = sorted([*ends, peak / bandwidth])
    roof = [min(peak, bandwidth * x) for x in ends]
    axes.plot(ends, roof, color="#111111", label="measured ceilings: copy, multiply")
    axes.plot(*zip(*[point[1:] for point in points]), "o-", color=COLOURS[OURS])
    for size, x, y in points:
        axes.annotate(size, (x, y), (4, -10), textcoords="offset points", fontsize=8)
    axes.legend(fontsize=8, title="points: batch size", title_fontsize=8)
    save(drawing, path)


def plot_decoding(pictures: list[dict], path: Path) -> None:
    drawing, axes = figure("megapixels", "ms from file to the model's input")
    marks = {"JPEG": "o", "PNG": "s", "WEBP": "^"}
    for key, colour, who in (
        ("seconds", COLOURS[OURS], "ours"),
        ("transformers_seconds", COLOURS["plain"], "Pillow and transformers"),
    ):
        for kind, mark in marks.items():
            points = sorted(
                (picture["megapixels"], 1000 * picture[key])
                for picture in pictures
                if picture["kind"] == kind
            )
            if points:
                label = f"{kind}, {who}"
                axes.plot(*zip(*points), mark, color=colour, label=label, markersize=5)
    axes.legend(fontsize=8)
    save(drawing, path)


if __name__ == "__main__":
    main()
