// One run: its text at each step, a token's history, the heat map, the curves, the finished text and the settings.

let runCount = 0;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function makeTable(head, rows) {
  return make("div", { className: "scrolls", tabIndex: 0 },
    make("table", {},
      ...(head ? [make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text))))] : []),
      make("tbody", {}, ...rows.map((row) => make("tr", {},
        ...row.map((text, k) => (k === 0 ? make("th", { scope: "row" }, text) : make("td", {}, text))))))));
}

class RunView {
  // onFrame(frame): the step to show was chosen here. onSample(): another sample is shown.
  constructor(trace, onFrame, onSample) {
    this.trace = trace;
    this.samples = trace.samples.map((raw) => new TracedSample(trace, raw));
    this.unit = trace.method === "standard" ? "token" : "iteration";
    const number = ++runCount, id = "run" + number;
    this.select = make("select", { id: id + "-sample" },
      ...this.samples.map((sample, k) => make("option", { value: k }, sample.name())));
    this.select.addEventListener("change", () => {
      this.showSample(Number(this.select.value));
      onSample();
    });
    const choose = (position) => this.choose(position);
    this.text = new TextView("Text at the chosen step", choose);
    this.map = new HeatMap((position, frame) => {
      this.choose(position);
      if (frame !== null) onFrame(frame);
    });
    this.curves = new Curves();
    this.final = new TextView("Finished text", choose);
    this.figures = make("p", { className: "figures" });
    this.history = make("div", { className: "history", tabIndex: 0 });
    this.history.setAttribute("role", "region");
    this.history.setAttribute("aria-label", `History of the chosen token, run ${number}`);
    this.history.setAttribute("aria-live", "polite");
    this.numbers = make("div");
    this.selfConfidence = make("p", { className: "figures" });

    const copy = make("button", { type: "button" }, "Copy");
    const command = make("pre", { tabIndex: 0 }, trace.command);
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(trace.command);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(command);  // a page from disk may not be allowed to
        copy.textContent = "Selected";
      }
    });
    const settings = Object.entries(trace.run.settings ?? {}).map(([key, value]) => [key, JSON.stringify(value)]);
    const others = Object.entries(trace.run).filter(([key]) => key !== "settings")
      .map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
    const line = (name) => {
      const svg = svgElement("svg", { width: 30, height: 8, "aria-hidden": "true" });
      svg.append(svgElement("line", { class: "curve " + name, x1: 0, x2: 30, y1: 4, y2: 4 }));
      return svg;
    };
    const swatch = (style, className = "") => {
      const box = make("i", { className });
      box.style.cssText = style;
      return box;
    };
    const standard = trace.method === "standard";
    this.element = make("section", {},
      make("div", { className: "run-head" },
        make("h2", { id }, trace.title),
        make("label", { htmlFor: this.select.id }, "Sample "), this.select),
      this.figures,
      make("div", { className: "upper" }, this.text.element, this.history),
      make("h3", {}, "Confidence, position by " + (standard ? "position" : "iteration")),
      make("p", { className: "key" },
        make("span", {}, swatch("", "ramp"), "0 to 100%"),
        make("span", {}, swatch("background:var(--line)"), "given"),
        ...(standard ? [] : [
          make("span", {}, swatch("background:var(--panel)"), "masked; pale: drawn and masked again at once"),
          make("span", {}, swatch("background:var(--mark)"), "visible before, masked again")])),
      this.map.element,
      make("h3", {}, standard ? "Mean confidence" : "Masked share and mean confidence"),
      make("p", { className: "key" },
        ...(standard ? [] : [make("span", {}, line("share"), "masked share"), make("span", {}, line("plan"), "schedule")]),
        make("span", {}, line("sure"), "mean confidence of what is visible")),
      this.curves.element,
      make("details", {}, make("summary", {}, "Numbers"), this.numbers),
      make("h3", {}, "Finished text, by the model's confidence in it"),
      this.selfConfidence, this.final.element,
      make("h3", {}, "The same samples again"),
      make("div", { className: "command" }, command, copy),
      make("details", {}, make("summary", {}, "Settings"),
        makeTable(null, trace.description), makeTable(null, others), makeTable(null, settings)));
    this.element.setAttribute("aria-labelledby", id);
  }

  showSample(number) {
    this.sample = this.samples[number];
    this.position = null;
    this.text.resize(this.sample.length);
    this.final.resize(this.sample.length);
    this.final.showFinal(this.sample);
    this.map.show(this.sample);
    this.curves.show(this.sample);
    const mean = this.sample.raw.self_confidence;
    this.selfConfidence.textContent = `Self-confidence ${mean.toFixed(4)} (probability ${Math.exp(mean).toFixed(4)})`;
    this.numbers.replaceChildren(makeTable(
      [this.unit, "masked", "scheduled", "drawn", "of them withdrawn", "masked again", "mean confidence"],
      this.sample.allFigures().map((one, frame) => [String(frame), percent(one.share), percent(one.scheduled),
        String(one.drawn), String(one.withdrawn), String(one.again), percent(one.confidence)])));
    this.showHistory();
  }

  showFrame(frame) {
    this.frame = Math.min(frame, this.sample.frames);
    this.text.showFrame(this.sample, this.frame);
    this.map.showFrame(this.frame);
    this.curves.showFrame(this.frame);
    const one = this.sample.allFigures()[this.frame];
    this.figures.textContent = `${this.unit} ${this.frame} of ${this.sample.frames}: `
      + (this.sample.standard ? "" : `${percent(one.share)} masked, ${one.drawn} drawn, ${one.withdrawn} of them withdrawn, ${one.again} masked again, `)
      + `mean confidence ${percent(one.confidence)}`;
    this.showHistory();
  }

  choose(position) {
    this.position = position;
    this.text.choose(position);
    this.final.choose(position);
    this.map.choose(position);
    this.showHistory();
  }

  // What happened to the chosen position, equal steps in a row as one.
  showHistory() {
    if (this.position === null) {
      this.history.replaceChildren(make("p", {}, "Point at the text, or choose a token with the arrow keys, to see its history."));
      return;
    }
    const { sample, position } = this;
    const name = (token) => sample.vocabulary.name(token), shared = sample.finalCells().shared.get(position);
    const head = make("p", {}, make("strong", {}, `Position ${position}`),
      `: ${name(sample.finalToken(position))} in the end, confidence ${percent(toProbability(sample.finalConfidence[position]))}`);
    if (shared) head.append(`; positions ${shared[0]}–${shared[1]} are ${quoted(shared[2])}`);
    if (sample.given[position]) {
      this.history.replaceChildren(head, make("p", {}, "Given, never masked."));
      return;
    }
    const frames = sample.standard ? [position - sample.start + 1] : Array.from({ length: sample.frames }, (_, k) => k + 1);
    const entries = [];
    for (const frame of frames) {
      const state = sample.standard ? "drawn" : sample.state(frame, position);
      const last = entries[entries.length - 1];
      if ((state === "kept" || state === "masked") && last?.state === state) {
        last.to = frame;
      } else {
        entries.push({ state, from: frame, to: frame });
      }
    }
    const words = { drawn: "drawn", withdrawn: "drawn and masked again", remasked: "masked again", kept: "kept", masked: "not its turn" };
    const items = entries.map(({ state, from, to }) => {
      const when = from === to ? `${this.unit} ${from}` : `${this.unit}s ${from}–${to}`;
      const item = make("li", {}, `${when}: ${words[state]}`);
      if (state !== "masked") {
        const first = percent(sample.probability(from, position)), final = percent(sample.probability(to, position));
        item.append(` ${name(sample.token(from, position))}, ${first}${first === final ? "" : " to " + final}`);
        const judged = sample.judgement(to, position);
        if (judged !== null) item.append(`, judged ${percent(judged)}`);
      }
      const others = sample.alternatives(from, position);
      if (others.length > 0) {
        item.append(make("span", { className: "others" },
          "; likeliest " + others.map(([token, probability]) => `${name(token)} ${percent(probability)}`).join(", ")));
      }
      if (!sample.standard && this.frame >= from && this.frame <= to) item.className = "now";
      return item;
    });
    this.history.replaceChildren(head, make("ol", {}, ...items));
  }

  redraw() {
    this.map.draw();
    this.curves.draw();
  }
}
