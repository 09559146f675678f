// The player, which all runs of the page follow.

const runs = Array.from(document.querySelectorAll("script.trace"), (script) =>
  new RunView(JSON.parse(script.textContent), showFrame, () => { measure(); showFrame(frame); }));
const scrubber = document.getElementById("scrubber"), stepText = document.getElementById("step");
const playButton = document.getElementById("play"), speed = document.getElementById("speed");
let frame = 0, lastFrame = 0, timer = null;

function measure() {
  lastFrame = Math.max(...runs.map((run) => run.sample.frames));
  scrubber.max = lastFrame;
}

function showFrame(next) {
  frame = Math.max(0, Math.min(lastFrame, next));
  scrubber.value = frame;
  const units = new Set(runs.map((run) => run.unit));
  stepText.textContent = `${units.size === 1 ? [...units][0] : "step"} ${frame} of ${lastFrame}`;
  scrubber.setAttribute("aria-valuetext", stepText.textContent);
  for (const run of runs) run.showFrame(frame);
}

function pause() {
  clearTimeout(timer);
  timer = null;
  playButton.textContent = "Play";
}

function play() {
  if (frame === lastFrame) showFrame(0);
  playButton.textContent = "Pause";
  const tick = () => {
    if (frame === lastFrame) return pause();
    showFrame(frame + 1);
    timer = setTimeout(tick, 1000 / Number(speed.value));
  };
  timer = setTimeout(tick, 1000 / Number(speed.value));
}

function step(by) {
  pause();
  showFrame(frame + by);
}

playButton.addEventListener("click", () => (timer === null ? play() : pause()));
document.getElementById("back").addEventListener("click", () => step(-1));
document.getElementById("forward").addEventListener("click", () => step(1));
scrubber.addEventListener("input", () => { pause(); showFrame(Number(scrubber.value)); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, button, summary, a")) return;
  const action = { " ": () => (timer === null ? play() : pause()), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
                   Home: () => step(-frame), End: () => step(lastFrame - frame) }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

const main = document.getElementById("runs");
main.classList.toggle("several", runs.length > 1);
for (const run of runs) {
  main.append(run.element);
  run.showSample(0);
}
measure();
showFrame(lastFrame);

let redrawing = 0;
const redraw = () => {
  cancelAnimationFrame(redrawing);
  redrawing = requestAnimationFrame(() => runs.forEach((run) => run.redraw()));
};
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
