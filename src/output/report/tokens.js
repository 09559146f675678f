// What tokens are, and how they look: alone, and beside the others of a text.

function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g), (digits) => parseInt(digits, 16));
}

// How many bytes at `at` are a character, and whether it is whole; of what is not UTF-8, those that a decoder takes for one
// U+FFFD.
function characterAt(bytes, at) {
  const lead = bytes[at];
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  const [low, high] = { 0xe0: [0xa0, 0xbf], 0xed: [0x80, 0x9f], 0xf0: [0x90, 0xbf], 0xf4: [0x80, 0x8f] }[lead] ?? [0x80, 0xbf];
  let there = 1;
  while (there < length && bytes[at + there] >= (there === 1 ? low : 0x80) && bytes[at + there] <= (there === 1 ? high : 0xbf)) {
    ++there;
  }
  return { length: there, whole: there === length };
}

// By its code what would not show, or would turn or hide its neighbours.
function visibleCharacter(character) {
  const code = character.codePointAt(0);
  if (character === "\n") return "⏎\n";
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "␡";
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Cn}]/u.test(character) || (code !== 0x20 && /\p{Zs}/u.test(character))) {
    return "\\u{" + code.toString(16) + "}";
  }
  return /\p{M}/u.test(character) ? "◌" + character : character;
}

// A token as it can be seen.
function visible(text) {
  return Array.from(text, visibleCharacter).join("");
}

// What readers take for one character, in running text: marks stand on their letter, and emoji that are joined stay so.
function visibleGrapheme(grapheme) {
  if (/^[^\p{M}\p{C}\p{Z}][^\p{C}\p{Z}]*$|^ $/u.test(grapheme)) return grapheme;
  if (/^\p{Extended_Pictographic}[\p{Extended_Pictographic}\p{M}\p{Emoji_Modifier}\u200d\u{e0020}-\u{e007f}]*$/u.test(grapheme)) {
    return grapheme;
  }
  return visible(grapheme);
}

const segmenter = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

function* codePoints(text) {
  let index = 0;
  for (const segment of text) {
    yield { segment, index };
    index += segment.length;
  }
}

// Text as it is named in a sentence.
function quoted(text) {
  return "‘" + visible(text).replaceAll("\n", "").replaceAll(" ", "␣") + "’";
}

// The tokens of a trace, by their places in its list.
class Tokens {
  constructor(trace) {
    this.texts = trace.tokens;
    this.arePieces = "token_bytes" in trace;
    this.bytes = new Map(Object.entries(trace.token_bytes ?? {}).map(([place, hex]) => [Number(place), fromHex(hex)]));
    this.special = new Set(trace.special_tokens ?? []);
  }

  name(place) {
    const bytes = this.bytes.get(place), text = this.texts[place] ?? null;
    if (text === null) return "an id without text";
    if (this.special.has(place)) return visible(text);
    if (!bytes) return quoted(text);
    let shown = "";
    for (let at = 0; at < bytes.length;) {
      const { length, whole } = characterAt(bytes, at), part = bytes.subarray(at, at + length);
      shown += whole ? quoted(new TextDecoder().decode(part)).slice(1, -1)
                     : Array.from(part, (byte) => "\\x" + byte.toString(16).padStart(2, "0")).join("");
      at += length;
    }
    return "‘" + shown + "’";
  }

  // The cells of a text, whose hidden positions are null in `places`: what each shows, the text it stands for, and of those
  // that share a character [first, last, character]. A character that is spread over pieces is in the first of them.
  cells(places) {
    const shown = places.map((place) => (place === null ? "" : "\ufffd")), texts = shown.slice(), shared = new Map();
    for (let t = 0; t < places.length; ++t) {
      const place = places[t], text = place === null ? null : this.texts[place] ?? null;
      if (text === null) continue;
      if (!this.arePieces) {
        shown[t] = visible(text);
        texts[t] = text;
        continue;
      }
      const first = t;
      while (t + 1 < places.length && places[t + 1] !== null && (this.texts[places[t + 1]] ?? null) !== null) ++t;
      this.join(places, first, t + 1, { shown, texts, shared });
    }
    return { shown, texts, shared };
  }

  // Fills the cells [first, last), all of which have text.
  join(places, first, last, cells) {
    let run = "";
    const owners = [], repeated = new Set();  // by index in `run`: the position in which it begins; another part of the same
    const add = (text, position) => {
      run += text;
      for (let k = 0; k < text.length; ++k) owners.push(position);
    };
    for (let t = first; t < last; ++t) {
      cells.shown[t] = cells.texts[t] = "";
      if (!this.bytes.has(places[t])) {
        add(this.texts[places[t]], t);
        continue;
      }
      const begin = t, bytes = [], positions = [];
      for (; t < last && this.bytes.has(places[t]); ++t) {
        cells.shown[t] = cells.texts[t] = "";
        for (const byte of this.bytes.get(places[t])) {
          bytes.push(byte);
          positions.push(t);
        }
      }
      --t;
      for (let at = 0; at < bytes.length;) {
        const { length, whole } = characterAt(bytes, at);
        const from = positions[at], to = positions[at + length - 1];
        if (whole) {
          const character = new TextDecoder().decode(Uint8Array.from(bytes.slice(at, at + length)));
          add(character, from);
          if (to > from) for (let k = from; k <= to; ++k) cells.shared.set(k, [from, to, character]);
        } else {
          for (let k = from; k <= to; ++k) {
            if (k > from) repeated.add(run.length);
            add("\ufffd", k);
          }
        }
        at += length;
      }
    }
    if (/^[ -~]*$/.test(run)) {
      for (let k = 0; k < run.length; ++k) cells.texts[owners[k]] += run[k];
      for (let t = first; t < last; ++t) cells.shown[t] = cells.texts[t];
      return;
    }
    for (const { segment, index } of segmenter?.segment(run) ?? codePoints(run)) {
      cells.shown[owners[index]] += visibleGrapheme(segment);
      for (let k = index; k < index + segment.length; ++k) {
        if (!repeated.has(k)) cells.texts[owners[index]] += run[k];
      }
    }
  }
}
