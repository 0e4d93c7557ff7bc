"""Results in JSON to Markdown tables and plots: `python -m benchmarks.report`.

It reads benchmarks/results/*.json. The tables go between two marks in
benchmarks/README.md, and the plots into the same folder. The comparison with the plain
server also goes between the same marks in the main README.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
OURS = "ours"
MAX_BUSY = 0.2  # of the cores that others may use during a measurement that counts
LOOPS = ("generate-fp32", "generate-bf16")  # transformers without HTTP
NOT_PEERS = ("noop", *LOOPS)
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
    """Write the tables into a README and the plots into its folder."""
    sections, comparisons = [], []
    for path in sorted(folder.glob("*.json")):
        results = json.loads(path.read_text())
        if build := SECTIONS.get(results.get("kind")):
            sections.append(build(path.stem, results, readme.parent))
        if "plain" in results.get("servers", {}):
            comparisons.append(comparison_table(results["servers"]))
    replace_between_marks(readme, "\n".join(sections))
    main_readme = readme.parent.parent / "README.md"
    replace_between_marks(main_readme, "\n\n".join(comparisons) + "\n")


def replace_between_marks(path: Path, text: str) -> None:
    """Replace the text between the marks, if the file has them."""
    old = path.read_text() if path.exists() else ""
    if BEGIN in old:
        head, _, rest = old.partition(BEGIN)
        tail = rest.partition(END)[2]
        path.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(name: str, description: str, results: dict, *parts: str) -> str:
    return "\n".join([f"## {name}\n", description, conditions(results), *parts, ""])


def conditions(results: dict) -> str:
    """Describe the machine, the versions and the settings in two sentences."""
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    where = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB"
    if machine["gpu"]:
        where = f"{machine['gpu'].replace(', ', ', driver ')}; {where}"
    shown = ", ".join(
        f"{name} {settings[name]}"
        for name in ("checkpoint", "rounds", "seconds", "images")
        if name in settings
    )
    return (
        f"Measured {machine['date'][:10]} on {where}.\n"
        f"Python {machine['python']}, {versions}; {shown}.\n"
    )


def http_section(name: str, results: dict, folder: Path) -> str:
    servers = results["servers"]
    plot_clients(servers, folder, name)
    parts = [server_table(servers), "", comparison_table(servers), "", notes(servers)]
    parts += [f"![throughput by the number of clients]({name}-rate.png)"]
    parts += [f"![median latency by the number of clients]({name}-p50.png)"]
    text = "The endpoint and its peers over HTTP."
    return section(name, text, results, *parts)


def get_steps(servers: dict, name: str) -> dict:
    """Return a server's medians by the number of clients; {} if it failed."""
    return servers.get(name, {}).get("median", {}).get("steps", {})


def client_counts(servers: dict) -> list[str]:
    """Return the numbers of clients in ascending order."""
    found = {
        number
        for name in servers
        if name not in NOT_PEERS
        for number in get_steps(servers, name)
    }
    return sorted(found, key=int)


def server_table(servers: dict) -> str:
    """Return a row for each server: start, memory, throughput and latency."""
    counts = client_counts(servers)
    head = ["server", "ready after, s", "memory, GB"]
    head += [f"clients: {count}; images/s, p50, p99" for count in counts]
    head += ["errors", "same captions as fp32, bf16"]
    rows = []
    for name, result in servers.items():
        if name in NOT_PEERS or "median" not in result:
            continue
        median, steps = result["median"], get_steps(servers, name)
        cells = [name, f"{median['ready_seconds']:.1f}", format_memory(median)]
        cells += [format_step(steps.get(count)) for count in counts]
        errors = sum(sum(step["errors"].values()) for step in steps.values())
        rows.append([*cells, str(errors), format_agreement(result)])
    return table(head, rows)


def rates(servers: dict, names) -> list[float]:
    return [
        step["per_second"]
        for name in names
        for step in get_steps(servers, name).values()
    ]


def format_step(step: dict | None) -> str:
    if not step:
        return ""
    waits = (format_seconds(step[key]) for key in ("p50_seconds", "p99_seconds"))
    return f"{step['per_second']:.1f}, {', '.join(waits)}"


def format_seconds(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.{1 if value < 10 else 0}f} s"


def format_memory(median: dict) -> str:
    text = f"{median.get('memory_mb', 0) / 1000:.1f}"
    if "gpu_memory_mb" in median:
        text += f" + {median['gpu_memory_mb'] / 1000:.1f} GPU"
    return text


def format_agreement(result: dict) -> str:
    shares = (result["captions"].get(f"as_{dtype}") for dtype in ("fp32", "bf16"))
    return ", ".join("-" if share is None else f"{share:.0%}" for share in shares)


def find_best(servers: dict, count: str, suffix: str) -> tuple[str, dict]:
    """Return the peer with the highest throughput among those of a dtype."""
    found = [
        (name, get_steps(servers, name)[count])
        for name in servers
        if name.endswith(suffix) and name not in NOT_PEERS
        if count in get_steps(servers, name)
    ]
    return max(found, key=lambda pair: pair[1]["per_second"], default=("", {}))


def comparison_table(servers: dict) -> str:
    """Return our throughput and latency relative to the others, by clients."""
    head = ["clients", "images/s", "p50", "throughput / `plain`"]
    head += ["latency of `plain` / ours", "throughput / best fp32 peer"]
    head += ["throughput / best bf16 peer", "throughput / best `generate` loop"]
    loop = max(rates(servers, LOOPS), default=0.0)
    rows = []
    for count in client_counts(servers):
        ours = get_steps(servers, OURS).get(count)
        if not ours:
            continue
        plain = get_steps(servers, "plain").get(count)
        peers = [find_best(servers, count, suffix) for suffix in ("-fp32", "-bf16")]
        row = [count, f"{ours['per_second']:.1f}", format_seconds(ours["p50_seconds"])]
        row += [ratio(ours, plain), ratio(plain, ours, "p50_seconds")]
        row += [f"{ratio(ours, step)} {name}".strip() for name, step in peers]
        rows.append([*row, ratio(ours, {"per_second": loop})])
    return table(head, rows)


def ratio(one: dict | None, other: dict | None, key: str = "per_second") -> str:
    if not one or not other or not other[key]:
        return "-"
    return f"{one[key] / other[key]:.1f}x"


def notes(servers: dict) -> str:
    """Describe the loops, the load generator's limit and the servers that failed."""
    lines = []
    for name in LOOPS:
        texts = (
            f"{step['per_second']:.1f}/s in batches of {size}"
            for size, step in get_steps(servers, name).items()
        )
        if text := ", ".join(texts):
            lines.append(f"- `{name}`, a loop without HTTP: {text}.")
    limits = rates(servers, ["noop"])
    measured = rates(servers, [name for name in servers if name not in NOT_PEERS])
    if measured and limits:
        lines.append(
            f"- The load generator gets {min(limits):.0f} to {max(limits):.0f} answers "
            "per second from a server that does nothing; the highest throughput of a "
            f"real server is {max(measured):.0f}."
        )
    for name, result in servers.items():
        errors = [entry["error"] for entry in result["rounds"] if "error" in entry]
        if errors:
            lines.append(f"- {name}: {errors[0].splitlines()[0]}")
    return "\n".join(lines) + "\n"


def engine_section(name: str, results: dict, folder: Path) -> str:
    plot_roofline(results, folder / f"{name}-roofline.png")
    plot_decoding(results["decoding"], folder / f"{name}-decoding.png")
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
    head = ["batch size", "ms", "images/s", "roofline, ms", "share of the roofline"]
    parts = [describe_limits(results), table(head, rows), ""]
    parts += [f"![FLOP/s by FLOP per byte]({name}-roofline.png)"]
    parts += [f"![time to decode by image size]({name}-decoding.png)"]
    text = "The model without HTTP, compared with the limits of the machine."
    return section(name, text, results, *parts)


def describe_limits(results: dict) -> str:
    text = (
        f"{results['dtype']} on {results['device']}: matrix multiplication reaches "
        f"{results['flops'] / 1e12:.2f} TFLOP/s, memory is copied at "
        f"{results['bytes_per_second'] / 1e9:.0f} GB/s, all cores decode "
        f"{results['decoded_per_second']:.0f} images/s; the model loads in "
        f"{results['load_seconds']:.1f} s"
    )
    if "gpu_memory_mb" in results:
        text += f" and uses {results['gpu_memory_mb'] / 1000:.1f} GB of the GPU"
    return text + ".\n"


def start_section(name: str, results: dict, _folder: Path) -> str:
    head = ["weights", "script, s", "`/ping` answers, s", "ready, s", "ready / script"]
    rows = [
        [
            weights,
            *(f"{figures[key]:.2f}" for key in ("script", "ping", "ready")),
            f"{figures['ready'] / figures['script']:.2f}x",
        ]
        for weights, figures in results["median"].items()
    ]
    text = (
        "The start of the server, compared with a script that only loads the weights."
    )
    return section(name, text, results, table(head, rows))


def command_section(name: str, results: dict, _folder: Path) -> str:
    head = ["model", "model alone, images/s", "`flask predict`, images/s", "share"]
    head += ["memory after 1/4 and 9/10, MB"]
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
    text = "`flask predict` on a folder, compared with the model alone in full batches."
    return section(name, text, results, table(head, rows))


def captions_section(name: str, results: dict, _folder: Path) -> str:
    rows = [
        [way, *(f"{share:.2%}" for share in shares.values())]
        for way, shares in results["figures"].items()
    ]
    head = ["dtype, size at which the JPEG is decoded", "exact match"]
    head += ["same as in the first line"]
    text = "The bundled model's accuracy on drawn images, by dtype and decoding."
    return section(name, text, results, table(head, rows))


def exact_section(name: str, results: dict, _folder: Path) -> str:
    rows = []
    for weights, found in results["figures"].items():
        different = found["different"].values()
        row = weights, found["captions"], found["lengths"], len(different)
        rows.append([*map(str, row), str(sum(different))])
    head = ["weights", "captions", "different lengths", "beams and batch sizes"]
    head += ["captions that differ"]
    text = "The tokens of the search, compared with those of `generate` in float32."
    return section(name, text, results, table(head, rows))


def open_loop_section(name: str, results: dict, folder: Path) -> str:
    servers = results["servers"]
    plot_open_loop(servers, folder / f"{name}.png")
    closed = {server: each["closed"] for server, each in servers.items()}
    counts = sorted({count for steps in closed.values() for count in steps}, key=int)
    head = ["server", *(f"clients: {count}; images/s, p50, p99" for count in counts)]
    rows = [
        [server, *(format_step(steps.get(count)) for count in counts)]
        for server, steps in closed.items()
        if steps
    ]
    parts = [open_loop_table(servers), "", describe_noise(servers)]
    parts += [f"![seconds until the answer by the rate of requests]({name}.png)", ""]
    parts += ["The endpoint in a closed loop, with its delay and without:", ""]
    text = (
        "Requests that arrive at random times at a given rate, with p50 and p99 from "
        "the planned time to the answer.\nThe rate in bold is the first that a server "
        f"did not keep up with: p99 was more than {results['settings']['limit']} s, or "
        "a request failed."
    )
    return section(name, text, results, *parts, table(head, rows))


def open_loop_table(servers: dict) -> str:
    """Return a row for each server, with p50 and p99 at each rate."""
    rates = sorted(
        {rate for each in servers.values() for rate in each["open"]}, key=float
    )
    rows = []
    for server, each in servers.items():
        cells = [format_waits(each["open"].get(rate)) for rate in rates]
        rows.append([server, *cells])
    return table(["server", *(f"{rate}/s" for rate in rates)], rows)


def format_waits(step: dict | None) -> str:
    """Return p50 and p99, in bold with the errors if the server did not keep up."""
    if not step:
        return ""
    waits = ", ".join(format_seconds(step[f"{key}_seconds"]) for key in ("p50", "p99"))
    if step["keeps_up"]:
        return waits
    errors = sum(step["errors"].values())
    return f"**{waits}{f', {errors} errors' if errors else ''}**"


def describe_noise(servers: dict) -> str:
    """Say how much others used the machine, and which servers failed."""
    busy = [each["busy_before"] for each in servers.values()]
    lags = [
        step["p99_lag_seconds"]
        for each in servers.values()
        for step in each["open"].values()
    ]
    lines = describe_busy([share for share in busy if share is not None])
    if lags:
        lag = format_seconds(max(lags))
        lines += [f"- At most 1% of the requests were sent more than {lag} late."]
    for server, each in servers.items():
        if "error" in each:
            lines.append(f"- {server}: {each['error'].splitlines()[0]}")
    return "\n".join(lines) + "\n"


def describe_busy(shares: list[float]) -> list[str]:
    """Say how much others used the machine; [] where that is unknown."""
    if not shares:
        return []
    used = f"{min(shares):.0%} to {max(shares):.0%} of the cores"
    text = f"- Before the start of a server, other processes used {used}"
    if max(shares) > MAX_BUSY:
        return [f"{text}: these figures only show that the measurement works."]
    return [f"{text}."]


def floor_section(name: str, results: dict, _folder: Path) -> str:
    figures = results["median"]
    reading = figures["upload-reading no-op"]
    head = ["server", "requests/s", "p50", "CPU time of a request, ms"]
    head += ["CPU time / upload-reading no-op"]
    rows = [
        [
            row,
            f"{found['per_second']:.0f}",
            format_seconds(found["p50_seconds"]),
            f"{found['cpu_ms']:.2f}",
            f"{found['cpu_ms'] / reading['cpu_ms']:.1f}x",
        ]
        for row, found in figures.items()
    ]
    text = (
        "Small uploads to gunicorn with an application that does nothing, and to the "
        "endpoint with a model that sleeps for half a millisecond an input.\n"
        "The upload is french_bulldog.jpg, which no server decodes."
    )
    workers = ["", workers_table(results["workers"])]
    busy = results["busy_before"]
    note = "\n".join(["", *describe_busy([] if busy is None else [busy])])
    return section(name, text, results, table(head, rows), note, *workers)


def workers_table(workers: dict) -> str:
    """Return a row for each number of workers: memory and equal captions."""
    head = ["workers", "memory, MB", "MB for each further worker", "images/s"]
    head += ["captions as with 1 worker"]
    (first, *_), rows = workers.values(), []
    for count, found in workers.items():
        more = (found["memory_mb"] - first["memory_mb"]) / max(int(count) - 1, 1)
        same = [pair in first["captions"] for pair in found["captions"]]
        rows.append(
            [
                count,
                f"{found['memory_mb']:.0f}",
                "" if found is first else f"{more:.0f}",
                f"{found['per_second']:.1f}",
                f"{sum(same)} of {len(same)}",
            ]
        )
    return table(head, rows)


SECTIONS: dict[str | None, Callable[[str, dict, Path], str]] = {
    "http": http_section,
    "engine": engine_section,
    "start": start_section,
    "command": command_section,
    "captions": captions_section,
    "exact": exact_section,
    "open-loop": open_loop_section,
    "floor": floor_section,
}


def make_figure(xlabel: str, ylabel: str):
    """Return a plot with logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogFormatter

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    return figure, axes


def save(figure, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def plot_clients(servers: dict, folder: Path, name: str) -> None:
    for key, label, file in (
        ("per_second", "images per second", "rate"),
        ("p50_seconds", "median seconds until the answer", "p50"),
    ):
        figure, axes = make_figure("clients", label)
        for server in servers:
            steps = get_steps(servers, server)
            if server in NOT_PEERS or not steps:
                continue
            kind, _, dtype = server.partition("-")
            style = {"color": COLOURS.get(kind), "marker": "o", "label": server}
            style["linestyle"] = "--" if dtype == "bf16" else "-"
            style["linewidth"] = 3 if server == OURS else 1.2
            values = [step[key] for step in steps.values()]
            axes.plot([int(count) for count in steps], values, **style)
        axes.legend(fontsize=7, ncols=2)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        counts = client_counts(servers)
        axes.set_xticks([int(count) for count in counts], counts)
        save(figure, folder / f"{name}-{file}.png")


def plot_open_loop(servers: dict, path: Path) -> None:
    """Draw p50 and p99 by the rate of requests, up to the first that is too high."""
    figure, axes = make_figure("requests per second", "seconds until the answer")
    for server, each in servers.items():
        kind = server.split("-")[0]
        style = {"color": COLOURS.get(kind), "linewidth": 3 if server == OURS else 1.2}
        style["marker"] = "x" if server == "ours-no-delay" else "o"
        rates = [float(rate) for rate in each["open"]]
        for key, line in (("p50", "-"), ("p99", ":")):
            values = [step[f"{key}_seconds"] for step in each["open"].values()]
            axes.plot(rates, values, line, label=f"{server} {key}", **style)
    axes.legend(fontsize=7, ncols=2)
    save(figure, path)


def plot_roofline(results: dict, path: Path) -> None:
    """Draw FLOP/s by FLOP per byte, below the two limits of the machine."""
    figure, axes = make_figure("FLOP per byte read or written", "TFLOP/s")
    peak, bandwidth = results["flops"] / 1e12, results["bytes_per_second"] / 1e12
    points = [
        (size, each["flop"] / each["bytes"], each["flop"] / each["seconds"] / 1e12)
        for size, each in results["batches"].items()
    ]
    ends = [min(x for _, x, _ in points) / 3, max(x for _, x, _ in points) * 3]
    ends = sorted([*ends, peak / bandwidth])
    roof = [min(peak, bandwidth * x) for x in ends]
    axes.plot(ends, roof, color="#111111", label="measured limits: copy, multiply")
    axes.plot(*zip(*[point[1:] for point in points]), "o-", color=COLOURS[OURS])
    for size, x, y in points:
        axes.annotate(size, (x, y), (4, -10), textcoords="offset points", fontsize=8)
    axes.legend(fontsize=8, title="points: batch size", title_fontsize=8)
    save(figure, path)


def plot_decoding(images: list[dict], path: Path) -> None:
    figure, axes = make_figure("megapixels", "ms from the file to the model's input")
    markers = {"JPEG": "o", "PNG": "s", "WEBP": "^"}
    for key, colour, who in (
        ("seconds", COLOURS[OURS], "ours"),
        ("transformers_seconds", COLOURS["plain"], "Pillow and transformers"),
    ):
        for format, marker in markers.items():
            points = sorted(
                (image["megapixels"], 1000 * image[key])
                for image in images
                if image["format"] == format
            )
            if points:
                style = {"color": colour, "label": f"{format}, {who}"}
                axes.plot(*zip(*points), marker, markersize=5, **style)
    axes.legend(fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    main()
