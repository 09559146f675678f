#!/usr/bin/env python3
"""Measures strategies with demask_quality and writes the tables of docs/strategies.md and the picture docs/quality.svg.

    make_tables.py [measure | write] [options] [-- options of demask_quality]

Without a command it measures and then writes. It is run in the repository's root, where demask_quality is built:

    bench/quality/make_tables.py -- --device=cuda --dtype=bfloat16 --hardware="NVIDIA H200"

measure  runs demask_quality once for each group of rows and leaves its JSON in --results, one file a group and part.
         Rows are divided among the GPUs of --gpus=N, or, for machines of one's own choice, by --part=K/N, K from 0: run
         all N and put the files into one folder. A group whose models or texts are not there is left out, and said so.
write    puts tables made of those files between the marks "<!-- tables: NAME -->" and "<!-- end -->" of --docs, and
         draws --svg. What was not measured stays as it is.

--samples and --seeds are for trials. Exit codes: 0 done, 1 some rows failed or are missing, 2 bad usage.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

WORDS = "/usr/share/dict/american-english"  # Debian's wamerican
AUTOREGRESSIVE = "autoregressive"
BETTER_OF_TWO = "the better of two `best`, half the forwards each"
PLAIN = ["remask-rescore", "remask-random", "remask-draw", "remask-draw-log", "best", "maskgit", "ancestral",
         "remdm-cap", "remdm-rescale", "remdm-conf", "remdm-loop", "planner", "confidence", "random", "margin",
         "entropy"]
ADAPTIVE = ["entropy_bound", "threshold", "factor", "klass"]  # which come to `confidence` or `entropy` at a budget


def fail(message):
    print(f"make_tables: {message}", file=sys.stderr)
    sys.exit(2)


class Model:
    def __init__(self, name, checkpoint, judge, cost, samples, columns, strategies, own=()):
        self.name = name
        self.title = "English" if name == "english" else name
        self.checkpoint, self.judge = checkpoint, judge
        self.cost = cost  # of a forward of a text, relative
        self.samples = samples  # of each seed
        self.columns = columns  # forwards
        self.strategies = strategies
        self.own = list(own)  # arguments of demask_quality


def models(options):
    english = [f"--reference-words={options.english_words}", f"--held-out={options.english_held_out}"]
    return [Model("small", "diffusion.pt", "standard.pt", 1, 128, [16, 32, 64, 128], PLAIN + ADAPTIVE),
            Model("larger", "diffusion_base.pt", "standard.pt", 2, 64, [32, 64, 128], PLAIN),
            Model("english", "english.pt", "english_standard.pt", 3, 64, [32, 64, 128], PLAIN, english)]


class Group:
    """Rows of one call: every strategy at every budget. A strategy is (label, its request to demask_quality).

    The models' own groups have autoregression's row too, which is run where `best` is.
    """

    def __init__(self, name, model, strategies, budgets, samples=None, length=256):
        self.name, self.model, self.strategies, self.budgets = name, model, strategies, budgets
        self.samples = samples or model.samples
        self.length = length

    def has_autoregressive(self, labels):
        return self.name == self.model.name and "best" in labels

    def cost(self, label):
        forwards = sum(self.budgets) + (self.length - 1 if self.has_autoregressive([label]) else 0)
        return forwards * self.samples * self.length * self.model.cost


def at_temperatures(name, temperatures):
    strategy = {"remask-rescore": "remask", "remdm-cap": "remdm --remdm=cap"}.get(name, name)
    return [(f"{name}, T {t:g}", f"{name}, T {t:g}: --strategy={strategy} --temperature={t:g}") for t in temperatures]


COOL, HOT = [0.6, 0.8, 1.0, 1.2], [1.8, 2.2, 2.6, 3.0]  # of other strategies, of best
COOLED = {"small": ["remask-rescore", "maskgit", "remdm-cap", "confidence"], "larger": ["remdm-cap"],
          "english": ["remdm-cap"]}


def groups(options):
    """In the order in which they are run: what the tables need most comes first."""
    main, more, swept = [], [], []
    for model in models(options):
        strategies = [(label, label) for label in model.strategies]
        two = "--strategy=best --forwards={N/2} --best_of=2 --score_draws=2"
        strategies.append((BETTER_OF_TWO, f"{BETTER_OF_TWO}: {two}"))
        main.append(Group(model.name, model, strategies, model.columns))
        best = [("best", "best")]
        more.append(Group(f"{model.name}_best", model, best, [8, 16, 256] if model.name == "small" else [16, 256]))
        at = [one for name in COOLED[model.name] for one in at_temperatures(name, COOL)] + at_temperatures("best", HOT)
        swept.append(Group(f"{model.name}_swept", model, at, [32], samples=32))
        if model.name == "english":
            more.append(Group("english_long", model, best, [64], samples=32, length=512))
    found = main + more + swept
    for group in found:
        group.samples = options.samples or group.samples
    if options.tables:
        unknown = set(options.tables) - {group.name for group in found}
        if unknown:
            fail(f"--tables: no group is called {', '.join(sorted(unknown))}. There are "
                 f"{', '.join(group.name for group in found)}.")
        found = [group for group in found if group.name in options.tables]
    return found


# --- measuring


def missing_files(group, options):
    folder = pathlib.Path(options.out_dir)
    needed = [folder / group.model.checkpoint, folder / group.model.judge]
    needed += [pathlib.Path(argument.split("=", 1)[1]) for argument in group.model.own]
    return [str(path) for path in needed if not path.exists()]


def divided(all_groups, part, parts):
    """{group's name: its strategies} of this part: the dearest row first, each to the part that has least to do."""
    rows = sorted(((group.cost(label), i, group.name, (label, request)) for group in all_groups
                   for i, (label, request) in enumerate(group.strategies)), key=lambda row: (-row[0], row[2], row[1]))
    load, own = [0] * parts, {}
    for cost, i, name, strategy in rows:
        least = load.index(min(load))
        load[least] += cost
        if least == part:
            own.setdefault(name, []).append((i, strategy))
    return {name: [strategy for _, strategy in sorted(strategies)] for name, strategies in own.items()}


def arguments(group, strategies, options, json_path):
    model = group.model
    autoregressive = model.judge if group.has_autoregressive([label for label, _ in strategies]) else "none"
    return [options.program, f"--out_dir={options.out_dir}", f"--checkpoint_name={model.checkpoint}",
            f"--judge={model.judge}", *model.own, f"--autoregressive={autoregressive}",
            f"--samples={group.samples}", f"--length={group.length}", f"--seeds={options.seeds}",
            f"--budgets={','.join(map(str, group.budgets))}", f"--json={json_path}",
            *[f"--strategy={request}" for _, request in strategies], *options.passed]


def measure(options):
    """Whether all went well."""
    options.results.mkdir(parents=True, exist_ok=True)
    wanted, done = [], True
    for group in groups(options):
        missing = missing_files(group, options)
        if missing:
            print(f"make_tables: {group.name} is left out: {', '.join(missing)} missing.", file=sys.stderr)
        else:
            wanted.append(group)
    part, parts = options.part
    own = divided(wanted, part, parts)
    for group in wanted:
        if group.name in own:
            path = options.results / f"{group.name}.{part}of{parts}.json"
            done &= subprocess.run(arguments(group, own[group.name], options, path), check=False).returncode == 0
    return done


def measure_on_gpus(options):
    """A process of this script for each GPU."""
    command = [sys.executable, __file__, "measure", *options.own_arguments]
    processes = [subprocess.Popen([*command, "--gpus=0", f"--part={gpu}/{options.gpus}", "--", *options.passed],
                                  env={**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}) for gpu in range(options.gpus)]
    return all([process.wait() == 0 for process in processes])


# --- writing


class Results:
    """Of one group, from all its parts."""

    def __init__(self, group, folder):
        self.group = group
        paths = [path for path in sorted(folder.glob(f"{group.name}.*of*.json")) if path.stat().st_size > 0]
        self.files = [json.loads(path.read_text()) for path in paths]  # a run that was ended left an empty one
        self.rows = {(row["strategy"], row["forwards_asked"]): row
                     for file in self.files for row in file["rows"] if "failed" not in row}
        settings = [{key: file["settings"][key] for key in ("samples", "seeds", "length")} for file in self.files]
        if any(one != settings[0] for one in settings):
            fail(f"the files of {group.name} in {folder} have unlike settings: {settings}. Remove the older ones.")

    def row(self, label, forwards):
        return self.rows.get((label, forwards))

    def labels(self):
        """Nearest to held-out text first."""
        column = 64 if 64 in self.group.budgets else self.group.budgets[0]
        labels = [label for label, _ in self.group.strategies if self.row(label, column)]
        return sorted(labels, key=lambda label: value(self.row(label, column), "distance"))


def value(row, key, part="value"):
    number = row[key][part]
    return float("nan") if number is None else number


def cell(row, with_error=False):
    if row is None:
        return ""
    text = f"**{value(row, 'distance'):.2f}** "
    text += f"± {value(row, 'distance', 'se'):.2f}, " if with_error else ""
    text += (f"{value(row, 'judge_nats'):.2f} / {value(row, 'word_share'):.3f} / {value(row, 'distinct_4grams'):.3f} / "
             f"{value(row, 'token_entropy'):.2f}")
    collapsed = round(value(row, "repetitive") * row["texts"])
    return text + (f", {collapsed}" if collapsed else "")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def strategies_table(results):
    budgets = results.group.budgets
    return table(["strategy", *map(str, budgets)],
                 [[label, *[cell(results.row(label, n)) for n in budgets]] for label in results.labels()])


def units_table(all_results):
    terms = {"judge_nats": "judge", "word_share": "words", "distinct_4grams": "4-grams", "text_entropy": "entropy",
             "unigrams": "tokens", "bigrams": "pairs"}
    return table(["units", *terms.values()],
                 [[one.group.model.title, *[f"{one.files[0]['distance_units'][term]:.3f}" for term in terms]]
                  for one in all_results])


def median_errors(rows, key):
    digits = 2 if key == "distance" else 3
    medians = [statistics.median(value(row, key, part) for row in rows) for part in ("se", "se_seeds")]
    return ", ".join(f"{median:.{digits}f}" for median in medians)


def errors_table(all_results):
    keys = {"judge_nats": "judge", "word_share": "words", "distinct_4grams": "distinct 4-grams",
            "token_entropy": "entropy", "distance": "distance"}
    lines = []
    for one in all_results:
        by_kind = {"best": [], "others": []}
        for (label, _), row in one.rows.items():
            if label not in (AUTOREGRESSIVE, BETTER_OF_TWO):
                by_kind["best" if label == "best" else "others"].append(row)
        for kind, rows in by_kind.items():
            errors = [median_errors(rows, key) if rows else "" for key in keys]
            lines.append([f"{one.group.model.title}, {kind}", *errors])
    return table(["median error over texts, over seeds", *keys.values()], lines)


def yardsticks_table(all_results):
    rows = []
    for one in all_results:
        spent = one.row(AUTOREGRESSIVE, None)
        rows.append([one.group.model.title, cell(one.files[0]["held_out"]), cell(spent)])
    return table(["model", "held-out text", f"{AUTOREGRESSIVE}, 255 forwards"], rows)


def best_table(all_results):
    return table(["model", "8", "16", "256"],
                 [[one.group.model.title, *[cell(one.row("best", n)) for n in (8, 16, 256)]] for one in all_results])


def swept_table(all_results, names_of, temperatures):
    lines = []
    for one in all_results:
        model = one.group.model
        for name in names_of[model.name]:
            cells = [cell(one.row(f"{name}, T {t:g}", 32), with_error=True) for t in temperatures]
            lines.append([f"{model.title}, {name}", *cells])
    return table(["strategy", *[f"{t:g}" for t in temperatures]], lines)


def machine_line(results):
    file = results.files[0]
    settings = file["settings"]
    machine = file["hardware"] or file["processor"]
    seeds = ", ".join(map(str, settings["seeds"]))
    return f"{machine}, {file['dtype']}, {file['libtorch']}, {file['date'][:10]}; seeds {seeds}.\n"


def blocks(by_name):
    """{mark's name: text} of all that was measured."""
    names = list(COOLED)

    def of_models(suffix=""):
        return [by_name[name + suffix] for name in names if name + suffix in by_name]

    written = {one.group.name: strategies_table(one) for one in of_models()}
    if len(of_models()) == len(names):
        main = of_models()
        written.update(units=units_table(main), errors=errors_table(main), yardsticks=yardsticks_table(main),
                       machine=machine_line(main[0]))
    if len(of_models("_best")) == len(names):
        written["best"] = best_table(of_models("_best"))
    if "english_long" in by_name:
        written["english_long"] = f"512 pieces of English: {cell(by_name['english_long'].row('best', 64))} at 64.\n"
    if len(of_models("_swept")) == len(names):
        written["cool"] = swept_table(of_models("_swept"), COOLED, COOL)
        written["hot"] = swept_table(of_models("_swept"), {name: ["best"] for name in names}, HOT)
    return written


def fill(text, written):
    """The text with each marked block's content exchanged, and the names of marks for which there is none."""
    empty = []
    pieces = text.split("<!-- tables: ")
    for i, piece in enumerate(pieces[1:], 1):
        name, rest = piece.split(" -->\n", 1)
        old, after = rest.split("<!-- end -->", 1)
        if name not in written:
            empty.append(name)
        pieces[i] = f"{name} -->\n{written.get(name, old)}<!-- end -->{after}"
    return "<!-- tables: ".join(pieces), empty


def draw_picture(results, options):
    """Of the strategies by themselves, in the order in which demask lists them."""
    merged = dict(results.files[0])
    merged["rows"] = [results.row(label, n) for label in results.group.model.strategies for n in results.group.budgets
                      if results.row(label, n)]
    path = options.results / f"{results.group.name}_picture.json"
    path.write_text(json.dumps(merged))
    command = [options.program, f"--draw-results={path}", f"--svg={options.svg}"]
    return subprocess.run(command, check=False).returncode == 0


def write(options):
    """Whether all marks were filled and the picture drawn."""
    by_name = {group.name: Results(group, options.results) for group in groups(options)}
    by_name = {name: results for name, results in by_name.items() if results.files}
    text = options.docs.read_text(encoding="utf-8")
    filled, empty = fill(text, blocks(by_name))
    options.docs.write_text(filled, encoding="utf-8")
    if empty:
        print(f"make_tables: not measured, and left as they were: {', '.join(empty)}.", file=sys.stderr)
    return "small" in by_name and draw_picture(by_name["small"], options) and not empty


# --- command line


def parse_part(text):
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise argparse.ArgumentTypeError(f"'{text}' is not K/N with K from 0 to N - 1")
    return int(part), int(parts)


def parse_arguments(arguments):
    own, _, passed = arguments, None, []
    if "--" in arguments:
        own, passed = arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["measure", "write"])
    parser.add_argument("--program", default="build/bench/bin/demask_quality", help="demask_quality (%(default)s)")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("build/quality"),
                        help="folder (%(default)s)")
    parser.add_argument("--docs", type=pathlib.Path, default=pathlib.Path("docs/strategies.md"))
    parser.add_argument("--svg", default="docs/quality.svg")
    parser.add_argument("--out_dir", default="out", help="where the models are (%(default)s)")
    parser.add_argument("--english-words", default=WORDS, help="list of words (%(default)s)")
    parser.add_argument("--english-held-out", default="english_heldout.txt", help="(%(default)s)")
    parser.add_argument("--tables", type=lambda text: text.split(","), help="groups of rows, all unless named")
    parser.add_argument("--samples", type=int, help="texts of each seed in a row; otherwise what the tables have")
    parser.add_argument("--seeds", default="2026,2027,2028")
    parser.add_argument("--gpus", type=int, help="how many GPUs of this machine share the rows")
    parser.add_argument("--part", type=parse_part, default=(0, 1), help="K/N: measure every row of part K only")
    options = parser.parse_args(own)
    options.passed = passed
    options.own_arguments = [one for one in own if one not in ("measure", "write")]
    return options


def main():
    options = parse_arguments(sys.argv[1:])
    done = True
    if options.command != "write":
        done = measure_on_gpus(options) if options.gpus else measure(options)
    if options.command != "measure":
        done &= write(options)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
