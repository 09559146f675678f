// Position from left to right, step from top to bottom, coloured by confidence.

class HeatMap {
  // onChoose(position, frame) is called for the cell that is pointed at, or reached by the arrow keys.
  constructor(onChoose) {
    this.element = document.createElement("div");
    this.element.className = "map";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Heat map. Arrow keys choose a position and a step.");
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.row = document.createElement("div");
    this.row.className = "row";
    this.column = document.createElement("div");
    this.column.className = "column";
    this.element.append(this.canvas, this.row, this.column);
    const cellOf = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const position = Math.floor((event.clientX - box.left) / this.width);
      const frame = Math.floor((event.clientY - box.top) / this.height) + 1;
      if (position >= 0 && position < this.sample.length && frame >= 1 && frame <= this.rows) {
        onChoose(position, this.sample.standard ? null : frame);
      }
    };
    this.canvas.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") cellOf(event); });
    this.canvas.addEventListener("click", cellOf);
    this.element.addEventListener("keydown", (event) => {
      const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      if (across === 0 && down === 0) return;
      event.preventDefault();
      event.stopPropagation();
      const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
      onChoose(clamp((this.position ?? -1) + across, 0, this.sample.length - 1),
               this.sample.standard ? null : clamp(this.frame + down, 1, this.rows));
    });
  }

  show(sample) {
    this.sample = sample;
    this.rows = sample.standard ? 1 : sample.frames;
    this.position = null;
    this.draw();
  }

  draw() {
    if (!this.sample) return;
    const { sample, rows } = this;
    // A cell is at least a CSS pixel wide, and a whole number of the canvas's own pixels.
    this.width = Math.max(1, this.element.clientWidth / sample.length);
    this.height = Math.max(3, Math.min(24, Math.floor(320 / rows)));
    const across = Math.max(1, Math.round(this.width * devicePixelRatio)), down = Math.round(this.height * devicePixelRatio);
    this.canvas.width = across * sample.length;
    this.canvas.height = down * rows;
    this.canvas.style.width = this.width * sample.length + "px";
    this.canvas.style.height = this.height * rows + "px";
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ramp = [0, 1, 2, 3, 4].map((k) => colour("--h" + k));
    const given = colour("--line"), mark = colour("--mark");
    const context = this.canvas.getContext("2d");
    for (let r = 0; r < rows; ++r) {
      const frame = sample.standard ? sample.frames : r + 1;
      for (let t = 0; t < sample.length; ++t) {
        const state = sample.state(frame, t);
        if (state === "masked") continue;
        const probability = sample.probability(frame, t);
        context.globalAlpha = state === "withdrawn" ? 0.3 : 1;
        context.fillStyle = state === "given" ? given : ramp[Math.min(4, Math.floor(probability * 5))];
        context.fillRect(t * across, r * down, across, down);
        if (state === "remasked") {
          context.fillStyle = mark;
          const inset = across >= 4 ? 1 : 0;
          context.fillRect(t * across + inset, r * down + inset, across - 2 * inset, down - 2 * inset);
        }
      }
    }
    context.globalAlpha = 1;
    this.canvas.setAttribute("aria-label", sample.standard
      ? `Confidence of each of ${sample.length} tokens.`
      : `Confidence of ${sample.length} positions in ${rows} steps; ${sample.allFigures().reduce((sum, one) => sum + one.again, 0)} times a visible token was masked again.`);
    this.choose(this.position);
    this.showFrame(this.frame ?? rows);
  }

  showFrame(frame) {
    this.frame = frame;
    this.row.hidden = frame < 1;
    const row = this.sample.standard ? 0 : frame - 1;
    Object.assign(this.row.style, { left: 0, top: row * this.height + "px", width: this.canvas.style.width, height: this.height + "px" });
  }

  choose(position) {
    this.position = position;
    this.column.hidden = position === null;
    Object.assign(this.column.style, { top: 0, left: (position ?? 0) * this.width + "px", width: this.width + "px", height: this.canvas.style.height });
  }
}
