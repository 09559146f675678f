// A moving picture of the live view: node live.mjs PICTURE.svg DEMASK ARGUMENT...
// Runs demask under tmux, looks at the screen again and again, and writes what it saw as one SVG.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";

const [, , picture, ...command] = process.argv;
const columns = 88, rows = 12, cellWidth = 8.4, lineHeight = 19, frameSeconds = 0.28;
const background = "#15171c", foreground = "#d9dde3";

const tmux = (...words) => execFileSync("tmux", ["-L", "demask-pictures", "-f", "/dev/null", ...words], { encoding: "utf8" });
const quote = (word) => "'" + word.replaceAll("'", "'\\''") + "'";

function record() {
  const run = ["env", "COLORTERM=truecolor", ...command, "--live=True"].map(quote).join(" ");
  tmux("new-session", "-d", "-x", String(columns), "-y", String(rows), `${run} > /dev/null; sleep 1`);
  const frames = [];
  try {
    for (const start = Date.now(); Date.now() - start < 120_000;) {
      const inView = tmux("display-message", "-p", "#{alternate_on}").trim() === "1";
      if (!inView && frames.length > 0) break;
      const frame = inView ? tmux("capture-pane", "-p", "-e") : "";
      if (frame.trim() !== "" && frame !== frames[frames.length - 1]) frames.push(frame);
    }
  } finally {
    try { tmux("kill-server"); } catch { /* it has ended by itself */ }
  }
  return frames;
}

function colour(codes) {
  if (codes[0] === 2) return `rgb(${codes.slice(1, 4).join(",")})`;
  const n = codes[1];
  if (n < 16) return ["#000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5",
                      "#666", "#f14c4c", "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#fff"][n];
  if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232)).join(",")})`;
  const level = (k) => (k === 0 ? 0 : 55 + 40 * k);
  return `rgb(${level(Math.floor((n - 16) / 36))},${level(Math.floor((n - 16) / 6) % 6)},${level((n - 16) % 6)})`;
}

// What a run of SGR codes makes of a style.
function apply(style, codes) {
  for (let k = 0; k < codes.length; ++k) {
    const code = codes[k];
    if (code === 0) style = {};
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 4) style = { ...style, underline: true };
    else if (code === 7) style = { ...style, reverse: true };
    else if (code === 9) style = { ...style, strike: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 24) style = { ...style, underline: false };
    else if (code === 27) style = { ...style, reverse: false };
    else if (code === 29) style = { ...style, strike: false };
    else if (code === 39) style = { ...style, ink: undefined };
    else if (code === 49) style = { ...style, paper: undefined };
    else if (code === 38 || code === 48) {
      const length = codes[k + 1] === 2 ? 4 : 2;
      style = { ...style, [code === 38 ? "ink" : "paper"]: colour(codes.slice(k + 1, k + 1 + length)) };
      k += length;
    } else if (code >= 30 && code <= 37) style = { ...style, ink: colour([5, code - 30]) };
    else if (code >= 90 && code <= 97) style = { ...style, ink: colour([5, code - 82]) };
  }
  return style;
}

const looks = new Map();  // each once, as a class
function classOf(look) {
  if (!looks.has(look)) looks.set(look, "l" + looks.size);
  return looks.get(look);
}

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function drawFrame(frame) {
  let style = {}, svg = "";
  frame.split("\n").forEach((line, row) => {
    let column = 0, runs = "";
    for (const part of line.split(/(\x1b\[[0-9;:]*m)/)) {
      const sgr = part.match(/^\x1b\[([0-9;:]*)m$/);
      if (sgr) {
        style = apply(style, sgr[1].split(/[;:]/).map(Number));
      } else if (part !== "") {
        const [ink, paper] = style.reverse ? [style.paper ?? background, style.ink ?? foreground] : [style.ink ?? foreground, style.paper];
        const x = (12 + column * cellWidth).toFixed(1), width = Array.from(part).length * cellWidth;
        if (paper) svg += `<rect x="${x}" y="${8 + row * lineHeight}" width="${width.toFixed(1)}" height="${lineHeight}" fill="${paper}"/>`;
        const line = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
        if (part.trim() !== "" || line) {
          const look = `fill:${ink}` + (style.bold ? ";font-weight:bold" : "") + (style.dim ? ";opacity:.6" : "")
            + (line ? `;text-decoration:${line}` : "");
          runs += `<tspan x="${x}" class="${classOf(look)}">${escape(part)}</tspan>`;
        }
        column += Array.from(part).length;
      }
    }
    if (runs) svg += `<text y="${22 + row * lineHeight}">${runs}</text>`;
  });
  return svg;
}

const frames = record();
if (frames.length < 5) throw new Error(`only ${frames.length} frames of the live view were seen`);
const held = 6;  // the last stays so many times as long
const total = (frames.length + held) * frameSeconds, share = (k) => (100 * k / (frames.length + held)).toFixed(2) + "%";
const width = Math.ceil(24 + columns * cellWidth), height = 20 + rows * lineHeight;
let style = `text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}.f{opacity:0}`;
frames.forEach((_, k) => {
  const last = k === frames.length - 1;
  style += `@keyframes k${k}{0%{opacity:${k === 0 ? 1 : 0}}${share(k)}{opacity:1}${last ? "" : `${share(k + 1)}{opacity:0}`}100%{opacity:${last ? 1 : 0}}}`
    + `.f${k}{animation:k${k} ${total.toFixed(1)}s step-end infinite}`;
});
const drawn = frames.map((frame, k) => `<g class="f f${k}">${drawFrame(frame)}</g>`).join("\n");
for (const [look, name] of looks) style += `.${name}{${look}}`;
style += `@media(prefers-reduced-motion){.f{animation:none}.f${frames.length - 1}{opacity:1}}`;
writeFileSync(picture, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" xml:space="preserve">`
  + `<title>A text appears in demask's live view, drawn and masked again step by step</title><style>${style}</style>`
  + `<rect width="100%" height="100%" rx="8" fill="${background}"/>`
  + drawn + "</svg>\n");
