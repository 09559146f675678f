// The report as people use it, in headless Chromium, loaded from disk.
//
// DEMASK_BINARY, DEMASK_SOURCE_DIR: the program and the tree whose checkpoints it reads. DEMASK_CHROMIUM: the browser.
// DEMASK_SCREENSHOTS: a folder for pictures of the page, made where it is set.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";

const { DEMASK_BINARY, DEMASK_SOURCE_DIR, DEMASK_CHROMIUM = "/usr/bin/chromium", DEMASK_SCREENSHOTS } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "demask-report-"));
const file = (name) => join(folder, name);
let browser;

function demask(...settings) {
  execFileSync(DEMASK_BINARY, ["--device=cpu", "--dtype=float32", "--show_progress=False", ...settings],
    { cwd: DEMASK_SOURCE_DIR, stdio: ["ignore", "ignore", "inherit"] });
}

// Opens a report; `page.complaints` has every console message, error and request but that for the page itself.
async function open(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(error.stack));
  page.on("request", (request) => {
    if (request.url() !== "file://" + file(name)) page.complaints.push(request.url());
  });
  await page.goto("file://" + file(name));
  return page;
}

async function close(page) {
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

const trace = (name) => JSON.parse(readFileSync(file(name), "utf8"));

function table(entry) {
  const bytes = Buffer.from(entry.data, "base64");
  const width = { uint8: 1, uint16: 2, uint32: 4 }[entry.type];
  return Array.from({ length: bytes.length / width }, (_, k) => bytes.readUIntLE(k * width, width));
}

// The text after a step with masks as dots, made from the trace alone: what the page must show but for line ends.
function expectedText(data, sample, step) {
  const { tokens, states, given } = data.samples[sample];
  const length = tokens.shape[1];
  const isGiven = (t) => given.some(([first, last]) => t >= first && t < last);
  return Array.from({ length }, (_, t) => {
    const cell = Math.max(step - 1, 0) * length + t;
    const masked = !isGiven(t) && (step === 0 || [2, 4].includes(table(states)[cell]));
    return masked ? "·" : data.tokens[table(tokens)[cell]];
  }).join("");
}

const shownText = async (page, run = 0) =>
  (await page.locator("section").nth(run).locator(".text").first().textContent()).replaceAll("⏎", "");

// Byte-level BPE's letter of each byte, as in GPT-2's encoder.
function byteLetter(byte) {
  const isPlain = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  const others = Array.from({ length: 256 }, (_, b) => b).filter((b) => !isPlain(b));
  return String.fromCodePoint(isPlain(byte) ? byte : 256 + others.indexOf(byte));
}

// Word pieces for the shipped model, by id: those of its commonest characters hold parts of an emoji and of 漢.
const pieceBytes = (() => {
  const chosen = { 0: "\n\n", 1: " the", 39: [0xf0], 41: [0x9f], 42: [0x98], 43: [0xf0, 0x9f, 0x98], 46: [0xe6, 0xbc], 47: [0xa2],
    50: "\u0301", 53: "<|e|>", 56: " caf\u00e9", 58: [0x80] };
  return Array.from({ length: 65 }, (_, id) => Buffer.from(chosen[id] ?? ` w${id}`));
})();
const special = 53;

function writeTokenizer(path) {
  const letters = (bytes) => Array.from(bytes, byteLetter).join("");
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const mark = { id: special, content: "<|e|>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const vocab = Object.fromEntries(pieceBytes.map((bytes, id) => [id === special ? "<|e|>" : letters(bytes), id]));
  writeFileSync(path, JSON.stringify({ version: "1.0", truncation: null, padding: null, added_tokens: [mark], normalizer: null,
    pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel,
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
             fuse_unk: false, byte_fallback: false, vocab, merges: [] } }));
}

// What the page would say when somebody copies all of an element.
const copied = (element) => element.evaluate((text) => {
  getSelection().selectAllChildren(text);
  const event = new ClipboardEvent("copy", { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
  text.dispatchEvent(event);
  return event.clipboardData.getData("text/plain");
});

before(async () => {
  demask("--num_samples=3", "--sequence_length=128", "--diffusion_iterations=12", "--start_text=ROMEO:",
         "--trace=" + file("remask.json"), "--trace_samples=[0, 2]", "--report=" + file("remask.html"));
  demask("--num_samples=1", "--sequence_length=128", "--strategy=best", "--forwards=10", "--trace=" + file("best.json"),
         "--report=" + file("both.html"), "--compare=" + file("remask.json"));
  demask("--num_samples=1", "--sampling_method=standard", "--max_new_tokens=80", "--start_text=KING",
         "--trace=" + file("standard.json"), "--report=" + file("standard.html"));
  writeTokenizer(file("tokenizer.json"));
  demask("--meta_path=" + file("tokenizer.json"), "--num_samples=1", "--start_text=\u{1f600}<|e|>", "--parse_special=True",
         "--sequence_length=128", "--diffusion_iterations=6", "--trace=" + file("pieces.json"), "--report=" + file("pieces.html"),
         "--compare=" + file("remask.json"));
  browser = await chromium.launch({ executablePath: DEMASK_CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

describe("the report", () => {
  it("shows the finished text, and each step's as the trace has it", async () => {
    const page = await open("remask.html"), data = trace("remask.json");
    assert.equal(await page.title(), "demask: remask, 12 iterations");
    assert.equal(await page.locator("#step").textContent(), "iteration 12 of 12");
    for (const step of [12, 0, 1, 7]) {
      await page.locator("#scrubber").fill(String(step));
      assert.equal(await shownText(page), expectedText(data, 0, step));
    }
    const final = await page.locator(".text").nth(1).textContent();
    assert.equal(final.replaceAll("⏎", ""), expectedText(data, 0, 12));
    await close(page);
  });

  it("plays to the end and can be paused, by button and by key", async () => {
    const page = await open("remask.html");
    await page.locator("#speed").selectOption("30");
    await page.locator("#play").click();
    assert.equal(await page.locator("#play").textContent(), "Pause");
    await page.waitForFunction(() => document.getElementById("step").textContent === "iteration 12 of 12" &&
      document.getElementById("play").textContent === "Play");
    await page.locator("#speed").selectOption("2");
    await page.locator("h1").click();
    await page.keyboard.press("Home");
    assert.equal(await page.locator("#step").textContent(), "iteration 0 of 12");
    await page.keyboard.press("Space");
    await page.waitForFunction(() => document.getElementById("step").textContent === "iteration 1 of 12");
    await page.keyboard.press("Space");
    assert.equal(await page.locator("#play").textContent(), "Play");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.locator("#step").textContent(), "iteration 2 of 12");
    await close(page);
  });

  it("shows a token's history with the likeliest others, by mouse, touch and key", async () => {
    const data = trace("remask.json");
    // Of a position that was visible and masked again there is most to tell.
    const states = table(data.samples[0].states), length = 128;
    const position = states.indexOf(3) % length;
    const page = await open("remask.html");
    const history = page.locator(".history");
    await page.locator(".text").first().locator(`[data-position="${position}"]`).hover();
    const text = await history.textContent();
    assert.match(text, new RegExp(`^Position ${position}:`));
    assert.match(text, /masked again/);
    assert.match(text, /likeliest ‘/);
    assert.match(text, /judged \d/);
    await page.locator(".text").first().focus();
    await page.keyboard.press("ArrowRight");
    assert.match(await history.textContent(), new RegExp(`^Position ${position + 1}:`));
    await page.locator(".text").nth(1).locator('[data-position="0"]').hover();
    assert.match(await history.textContent(), /Given, never masked/);
    await close(page);

    const phone = await open("remask.html", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await phone.locator(".text").first().locator('[data-position="20"]').tap();
    assert.match(await phone.locator(".history").textContent(), /^Position 20:/);
    const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, "the page is wider than the phone");
    await close(phone);
  });

  it("has a heat map that chooses position and step, and marks what was masked again", async () => {
    const page = await open("remask.html"), data = trace("remask.json");
    const canvas = page.locator("canvas");
    const again = table(data.samples[0].states).filter((state) => state === 3).length;
    assert.match(await canvas.getAttribute("aria-label"), new RegExp(`128 positions in 12 steps; ${again} times`));
    const box = await canvas.boundingBox();
    await canvas.hover({ position: { x: (50.5 / 128) * box.width, y: (4.5 / 12) * box.height } });
    assert.equal(await page.locator("#step").textContent(), "iteration 5 of 12");
    assert.match(await page.locator(".history").textContent(), /^Position 50:/);
    await page.locator(".map").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.locator("#step").textContent(), "iteration 6 of 12");
    assert.match(await page.locator(".history").textContent(), /^Position 49:/);
    // Cells of the canvas: masked again is black, given is not.
    const states = table(data.samples[0].states);
    const cell = states.indexOf(3);
    const colour = await canvas.evaluate((element, [t, r]) => {
      const [across, down] = [element.width / 128, element.height / 12];
      return Array.from(element.getContext("2d").getImageData((t + 0.5) * across, (r + 0.5) * down, 1, 1).data);
    }, [cell % 128, Math.floor(cell / 128)]);
    assert.deepEqual(colour, [0x11, 0x11, 0x11, 255]);
    await close(page);
  });

  it("draws masked share and schedule by the trace's numbers", async () => {
    const page = await open("remask.html"), data = trace("remask.json");
    await page.locator("summary", { hasText: "Numbers" }).click();
    const rows = await page.locator("details table").first().locator("tbody tr").allTextContents();
    assert.equal(rows.length, 13);
    const free = 128 - "ROMEO:".length;
    data.samples[0].scheduled.forEach((scheduled, k) => {
      const share = (100 * scheduled / free);
      const shown = share.toFixed(share > 99 || share < 1 ? 1 : 0) + "%";
      assert.ok(rows[k + 1].startsWith(`${k + 1}${shown}${shown}`), rows[k + 1]);
    });
    assert.equal(await page.locator("polyline").count(), 3);
    await close(page);
  });

  it("switches samples", async () => {
    const page = await open("remask.html"), data = trace("remask.json");
    await page.locator("select").first().selectOption({ label: "2" });
    assert.equal(await shownText(page), expectedText(data, 1, 12));
    await page.locator("#scrubber").fill("3");
    assert.equal(await shownText(page), expectedText(data, 1, 3));
    await close(page);
  });

  it("compares two runs step by step", async () => {
    const page = await open("both.html");
    assert.equal(await page.locator("section").count(), 2);
    await page.locator("#scrubber").fill("4");
    assert.equal(await shownText(page, 0), expectedText(trace("best.json"), 0, 4));
    assert.equal(await shownText(page, 1), expectedText(trace("remask.json"), 0, 4));
    const [left, right] = [await page.locator("section").nth(0).boundingBox(), await page.locator("section").nth(1).boundingBox()];
    assert.ok(right.x >= left.x + left.width, "the runs do not stand side by side");
    await close(page);
  });

  it("streams standard sampling token by token", async () => {
    const page = await open("standard.html"), data = trace("standard.json");
    const all = table(data.samples[0].tokens).map((k) => data.tokens[k]);
    for (const step of [0, 1, 37, 80]) {
      await page.locator("#scrubber").fill(String(step));
      assert.equal(await shownText(page), all.slice(0, 4 + step).join(""));
    }
    await page.locator(".text").nth(1).locator('[data-position="10"]').hover();
    assert.match(await page.locator(".history").textContent(), /token 7: drawn .*likeliest/);
    await close(page);
  });

  it("has the command and every setting", async () => {
    const page = await open("remask.html"), data = trace("remask.json");
    assert.equal(await page.locator(".command pre").textContent(), data.command);
    await page.locator("summary", { hasText: "Settings" }).click();
    for (const key of Object.keys(data.run.settings)) {
      assert.ok(await page.locator("th", { hasText: new RegExp(`^${key}$`) }).count() > 0, key);
    }
    await close(page);
  });

  it("shows markup, quotes, emoji and control characters literally", async () => {
    const texts = ["</script><b>", "\0", "\u{1f600}", "\"'&lt;", "\x1b", "\u202e", "e\u0301", "<!--"];
    const shown = ["</script><b>", "␀", "\u{1f600}", "\"'&lt;", "␛", "\\u{202e}", "e◌\u0301", "<!--"];
    // A vocabulary of such tokens, for the shipped model, whose id 1, the space, is common.
    const itos = Object.fromEntries(Array.from({ length: 65 }, (_, id) => [id, texts[id] ?? String.fromCodePoint(0x4e00 + id)]));
    const stoi = Object.fromEntries(Object.entries(itos).map(([id, text]) => [text, Number(id)]));
    writeFileSync(file("meta.json"), JSON.stringify({ vocab_size: 65, itos, stoi }));
    demask("--meta_path=" + file("meta.json"), "--num_samples=1", "--start_text=" + texts.filter((t) => t !== "\0").join(""),
           "--sequence_length=256", "--diffusion_iterations=3", "--trace=" + file("odd.json"), "--report=" + file("odd.html"));
    const page = await open("odd.html"), data = trace("odd.json");
    const numbers = table(data.samples[0].tokens).slice(-256).map((k) => data.token_ids[k]);
    const expected = numbers.map((id) => shown[id] ?? itos[id]).join("");
    assert.equal(await page.locator(".text").nth(1).textContent(), expected);
    assert.ok(numbers.includes(1), "the run drew no null character");
    assert.equal(await page.locator("b").count(), 0);
    assert.match(await page.locator("pre").textContent(), /<\/script><b>/);
    await close(page);
  });

  it("shows word pieces as the text they make, and copies that", async () => {
    const page = await open("pieces.html"), data = trace("pieces.json"), [sample] = data.samples;
    const bytesOf = (place) => pieceBytes[data.token_ids[place]];
    data.token_ids.forEach((id, place) => {
      const isText = id >= 65 || pieceBytes[id].toString("utf8").indexOf("\ufffd") < 0;
      assert.equal(data.token_bytes[place], isText ? undefined : pieceBytes[id].toString("hex"));
    });
    const tokens = table(sample.tokens), states = table(sample.states), rows = tokens.length / 128;
    const final = tokens.slice(-128), whole = Buffer.concat(final.map(bytesOf)).toString("utf8");
    const texts = page.locator("section").first().locator(".text");
    assert.equal(await copied(texts.nth(1)), whole);
    assert.match(whole, /^\u{1f600}/u);
    assert.match(whole, /\ufffd/, "the run drew no part of a character alone");

    // After the second step, between masks, but for stand-ins, of which each piece has its own.
    await page.locator("#scrubber").fill("2");
    const parts = [Buffer.alloc(0)];
    for (let t = 0; t < 128; ++t) {
      if ([2, 4].includes(states[128 + t])) parts.push(Buffer.alloc(0));
      else parts.push(Buffer.concat([parts.pop(), bytesOf(tokens[128 + t])]));
    }
    const plain = (text) => text.replace(/\ufffd+/g, "\ufffd");
    const expected = parts.map((bytes) => plain(bytes.toString("utf8"))).join("·");
    assert.equal(plain((await shownText(page)).replaceAll("◌", "")), plain(expected));
    assert.equal(await copied(texts.first()), parts.map((bytes) => bytes.toString("utf8")).join("·"));

    const span = (t) => texts.nth(1).locator(`[data-position="${t}"]`);
    assert.deepEqual([await span(0).textContent(), await span(1).textContent()], ["\u{1f600}", ""]);
    const history = page.locator(".history").first();
    await span(0).hover();
    assert.match(await history.textContent(), /^Position 0: ‘\\xf0’ in the end.*positions 0–3 are ‘\u{1f600}’/u);
    const marks = final.filter((place) => data.token_ids[place] === special).length;
    assert.ok(marks > 0, "the run has no special token");
    assert.equal(await texts.nth(1).locator(".special").count(), marks);
    const withThe = final.findIndex((place) => data.token_ids[place] === 1);
    await span(withThe).hover();
    assert.match(await history.textContent(), /‘␣the’ in the end/);
    assert.equal(rows, 6);
    await close(page);
  });

  it("copies no more than was selected", async () => {
    const page = await open("standard.html"), data = trace("standard.json");
    const all = table(data.samples[0].tokens).map((k) => data.tokens[k]).join("");
    const part = await page.locator(".text").nth(1).evaluate((text) => {
      const node = (t) => text.querySelector(`[data-position="${t}"]`).firstChild;
      getSelection().setBaseAndExtent(node(2), 0, node(9), node(9).length);
      const event = new ClipboardEvent("copy", { clipboardData: new DataTransfer(), bubbles: true, cancelable: true });
      text.dispatchEvent(event);
      return event.clipboardData.getData("text/plain");
    });
    assert.equal(part, all.slice(2, 10));
    await close(page);
  });

  for (const name of ["remask", "standard", "pieces"]) {
    it(`has no accessibility violation, light and dark, on desktop and phone: ${name}`, async () => {
      const page = await open(name + ".html");
      await page.locator("#scrubber").fill("5");
      await page.locator(".text").first().locator('[data-position="7"]').click();
      const toggleAll = async () => { for (const summary of await page.locator("summary").all()) await summary.click(); };
      await toggleAll();
      await page.evaluate(axe);
      // A page's size changes no colour and its scheme changes nothing else, so each rule sees what it depends on.
      const colours = { runOnly: { type: "tag", values: ["cat.color"] } };
      const layout = { rules: { "color-contrast": { enabled: false } } };
      const [desktop, phone] = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];
      for (const [place, viewport, colorScheme, rules] of [["desktop-light", desktop, "light", {}],
        ["desktop-dark", desktop, "dark", colours], ["phone-light", phone, "light", layout], ["phone-dark", phone, "dark"]]) {
        await page.setViewportSize(viewport);
        await page.emulateMedia({ colorScheme });
        if (rules) {
          const violations = await page.evaluate(async (options) => (await axe.run(options)).violations,
                                                 { resultTypes: ["violations"], ...rules });
          assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html).slice(0, 3)]), [], place);
        }
        if (DEMASK_SCREENSHOTS) {
          await toggleAll();
          await page.evaluate(() => scrollTo(0, 0));
          await page.screenshot({ path: join(DEMASK_SCREENSHOTS, `${name}-${place}.png`) });
          await toggleAll();
        }
      }
      await close(page);
    });
  }
});
