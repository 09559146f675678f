// A text whose tokens have the colour of their confidence: the one being made, and the finished one.

function confidenceClass(probability) {
  return probability === null ? "" : "c" + Math.min(4, Math.floor(probability * 5));
}

class TextView {
  // onChoose(position) is called when a position is pointed at, or reached by the arrow keys.
  constructor(label, onChoose) {
    this.element = document.createElement("div");
    this.element.className = "text";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", label + ". Arrow keys choose a token.");
    this.onChoose = onChoose;
    const point = (event) => {
      const position = event.target.closest("[data-position]")?.dataset.position;
      if (position !== undefined) onChoose(Number(position));
    };
    this.element.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") point(event); });
    this.element.addEventListener("click", point);
    this.element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 }[event.key];
      if (step === undefined || this.spans.length === 0) return;
      event.preventDefault();
      event.stopPropagation();
      const from = this.chosen ?? (step > 0 ? -1 : this.spans.length);
      onChoose(Math.max(0, Math.min(this.spans.length - 1, from + step)));
    });
    this.element.addEventListener("copy", (event) => {
      const text = this.selectedText();
      if (text === null) return;
      event.clipboardData.setData("text/plain", text);
      event.preventDefault();
    });
    this.spans = [];
    this.texts = [];
    this.chosen = null;
  }

  resize(length) {
    this.spans = Array.from({ length }, (_, position) => {
      const span = document.createElement("span");
      span.dataset.position = position;
      return span;
    });
    this.chosen = null;
    this.element.replaceChildren(...this.spans);
  }

  set(position, text, classes) {
    const span = this.spans[position];
    if (span.textContent !== text) span.textContent = text;
    const all = position === this.chosen ? classes + " chosen" : classes;
    if (span.className !== all) span.className = all;
  }

  choose(position) {
    if (this.chosen !== null) this.spans[this.chosen]?.classList.remove("chosen");
    this.chosen = position;
    this.spans[position]?.classList.add("chosen");
  }

  // The text that the selected cells stand for; null where the selection is not within this text. A cell that shows
  // something else, as ⏎ for a line end, is taken as a whole.
  selectedText() {
    const selection = getSelection();
    if (selection.rangeCount === 0 || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    if (!this.element.contains(range.commonAncestorContainer)) return null;
    return this.spans.map((span, position) => {
      const node = span.firstChild;
      if (!node || !range.intersectsNode(node)) return "";
      const from = node === range.startContainer ? range.startOffset : 0;
      const to = node === range.endContainer ? range.endOffset : node.length;
      const text = this.texts[position];
      return text === node.data ? text.slice(from, to) : from < to ? text : "";
    }).join("");
  }

  showFrame(sample, frame) {
    const cells = sample.cells(frame);
    this.texts = cells.texts;
    for (let t = 0; t < sample.length; ++t) {
      const state = sample.state(frame, t);
      if (state === "masked" || state === "withdrawn") {
        this.texts[t] = sample.standard ? "" : MASK_GLYPH;
        this.set(t, this.texts[t], state);
        continue;
      }
      const colour = state === "remasked" ? "" : confidenceClass(sample.probability(frame, t));
      this.set(t, cells.shown[t], [state, colour, this.mark(sample, sample.token(frame, t))].filter(Boolean).join(" "));
    }
  }

  showFinal(sample) {
    const cells = sample.finalCells();
    this.texts = cells.texts;
    for (let t = 0; t < sample.length; ++t) {
      const colour = sample.given[t] ? "given" : confidenceClass(toProbability(sample.finalConfidence[t]));
      this.set(t, cells.shown[t], [colour, this.mark(sample, sample.finalToken(t))].filter(Boolean).join(" "));
    }
  }

  mark(sample, token) {
    return sample.vocabulary.special.has(token) ? "special" : "";
  }
}
