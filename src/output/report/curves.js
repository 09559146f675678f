// Masked share and mean confidence over the steps, against the schedule.

const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

class Curves {
  constructor() {
    this.element = document.createElement("div");
    this.element.className = "curves";
  }

  show(sample) {
    this.sample = sample;
    this.draw();
  }

  draw() {
    if (!this.sample) return;
    const { sample } = this;
    const figures = sample.allFigures();
    const width = Math.max(280, this.element.clientWidth), height = 200;
    const left = 44, right = 12, top = 10, bottom = 36;
    this.x = (frame) => left + (width - left - right) * frame / Math.max(1, sample.frames);
    const y = (share) => top + (height - top - bottom) * (1 - share);
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
    for (const share of [0, 0.5, 1]) {
      svg.append(svgElement("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
                 svgElement("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, 100 * share + "%"));
    }
    const step = Math.max(1, Math.ceil(sample.frames / 5));
    for (let frame = 0; frame <= sample.frames; frame += step) {
      svg.append(svgElement("text", { x: this.x(frame), y: height - bottom + 16, "text-anchor": "middle" }, frame));
    }
    svg.append(svgElement("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" },
                          sample.standard ? "token" : "iteration"));
    const curve = (name, value) => {
      const points = figures.map((one, frame) => [frame, value(one, frame)]).filter(([, share]) => share !== null);
      svg.append(svgElement("polyline", { class: "curve " + name,
        points: points.map(([frame, share]) => `${this.x(frame).toFixed(1)},${y(share).toFixed(1)}`).join(" ") }));
    };
    if (!sample.standard) {
      if (sample.raw.scheduled) curve("plan", (one) => one.scheduled);
      curve("share", (one) => one.share);
    }
    curve("sure", (one) => one.confidence);
    const last = figures[sample.frames];
    svg.setAttribute("aria-label", (sample.standard ? "" : `Masked share from ${percent(figures[0].share)} to ${percent(last.share)}. `)
      + `Mean confidence ${percent(last.confidence)} at the end. The table below has the numbers.`);
    this.now = svgElement("line", { class: "now-line", y1: top, y2: height - bottom });
    svg.append(this.now);
    this.element.replaceChildren(svg);
    this.showFrame(this.frame ?? sample.frames);
  }

  showFrame(frame) {
    this.frame = frame;
    this.now.setAttribute("x1", this.x(frame));
    this.now.setAttribute("x2", this.x(frame));
  }
}
