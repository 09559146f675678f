// Reading a trace, as docs/trace.md describes it.

const NO_LEVEL = 255;
const MASK_GLYPH = "·";

function decodeTable(table) {
  const bytes = Uint8Array.from(atob(table.data), (character) => character.charCodeAt(0));
  const Values = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array }[table.type];
  return { values: new Values(bytes.buffer), rows: table.shape[0], columns: table.shape[1] };
}

function toProbability(level) {
  return level === NO_LEVEL ? null : level / 254;
}

function percent(probability) {
  return probability === null ? "–" : (100 * probability).toFixed(probability > 0.99 || probability < 0.01 ? 1 : 0) + "%";
}

// One traced sample. Frame 0 is before the first step, frame f after step f.
class TracedSample {
  constructor(trace, raw) {
    this.raw = raw;
    this.standard = trace.method === "standard";
    this.vocabulary = new Tokens(trace);
    this.tokens = decodeTable(raw.tokens);
    this.states = decodeTable(raw.states).values;
    this.confidence = decodeTable(raw.confidence).values;
    this.judged = raw.judged ? decodeTable(raw.judged).values : null;
    this.likeliest = decodeTable(raw.likeliest);
    this.likeliestLevels = decodeTable(raw.likeliest_probabilities).values;
    this.finalConfidence = decodeTable(raw.final_confidence).values;
    this.length = this.tokens.columns;
    this.given = new Uint8Array(this.length);
    for (const [first, last] of raw.given) this.given.fill(1, first, last);
    this.start = this.given.indexOf(0);  // of what standard sampling draws
    this.frames = this.standard ? this.length - this.start : this.tokens.rows;
    this.free = this.given.reduce((count, given) => count + 1 - given, 0);
    // Rows of the table of the likeliest, by cell: it has those of drawn tokens only.
    this.likeliestRow = new Int32Array(this.states.length).fill(-1);
    let row = 0;
    this.states.forEach((state, cell) => { if (state === 1 || state === 2) this.likeliestRow[cell] = row++; });
  }

  name() {
    return "id" in this.raw ? `${this.raw.index} (prompt ${this.raw.id}, ${this.raw.sample})` : String(this.raw.index);
  }

  cell(frame, position) {
    return this.standard ? position : (frame - 1) * this.length + position;
  }

  // kept, drawn, withdrawn, remasked, masked, or given
  state(frame, position) {
    if (this.given[position]) return "given";
    if (this.standard) {
      const last = this.start + frame - 1;
      return position > last ? "masked" : position === last ? "drawn" : "kept";
    }
    if (frame === 0) return "masked";
    return ["kept", "drawn", "withdrawn", "remasked", "masked"][this.states[this.cell(frame, position)]];
  }

  isMasked(frame, position) {
    const state = this.state(frame, position);
    return state === "masked" || state === "withdrawn" || state === "remasked";
  }

  // Its place in the trace's list of tokens.
  token(frame, position) {
    return this.tokens.values[this.cell(Math.max(frame, 1), position)];
  }

  // What every position shows and stands for: see Tokens.
  cells(frame) {
    return this.vocabulary.cells(Array.from({ length: this.length }, (_, t) => {
      const state = this.state(frame, t);
      return state === "masked" || state === "withdrawn" ? null : this.token(frame, t);
    }));
  }

  finalCells() {
    this.cachedFinalCells ??= this.vocabulary.cells(Array.from({ length: this.length }, (_, t) => this.finalToken(t)));
    return this.cachedFinalCells;
  }

  probability(frame, position) {
    const state = this.state(frame, position);
    return state === "given" || state === "masked" ? null : toProbability(this.confidence[this.cell(frame, position)]);
  }

  judgement(frame, position) {
    if (!this.judged || frame === 0 || this.given[position]) return null;
    return toProbability(this.judged[this.cell(frame, position)]);
  }

  // [token, probability] of the likeliest tokens where one was drawn
  alternatives(frame, position) {
    const row = frame === 0 ? -1 : this.likeliestRow[this.cell(frame, position)];
    if (row < 0) return [];
    const choices = this.likeliest.columns;
    return Array.from({ length: choices }, (_, k) => [
      this.likeliest.values[row * choices + k],
      toProbability(this.likeliestLevels[row * choices + k]),
    ]);
  }

  finalToken(position) {
    return this.token(this.frames, position);
  }

  // What a frame did, in numbers.
  figures(frame) {
    const counts = { masked: 0, drawn: 0, withdrawn: 0, remasked: 0 };
    let sum = 0, sure = 0;
    for (let t = 0; t < this.length; ++t) {
      const state = this.state(frame, t);
      if (state in counts) ++counts[state];
      if (state === "kept" || state === "drawn") {
        sum += this.probability(frame, t);
        ++sure;
      }
    }
    return {
      share: (counts.masked + counts.withdrawn + counts.remasked) / this.free,
      drawn: counts.drawn + counts.withdrawn,
      again: counts.remasked,
      withdrawn: counts.withdrawn,
      confidence: sure > 0 ? sum / sure : null,
      scheduled: frame === 0 ? 1 : this.raw.scheduled ? this.raw.scheduled[frame - 1] / this.free : null,
    };
  }

  allFigures() {
    this.cachedFigures ??= Array.from({ length: this.frames + 1 }, (_, frame) => this.figures(frame));
    return this.cachedFigures;
  }
}
