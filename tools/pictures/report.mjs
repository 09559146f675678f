// A picture of a report part of the way through: node report.mjs REPORT.html PICTURE.png
import { resolve } from "node:path";
import { chromium } from "playwright-core";

const [, , report, picture] = process.argv;
const browser = await chromium.launch({ executablePath: process.env.DEMASK_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1180, height: 1010 } });
await page.goto("file://" + resolve(report));
await page.locator("#scrubber").fill("12");
// A position whose history is worth reading: visible once, and masked again.
const position = await page.evaluate(() => {
  const { sample } = runs[0];
  const changes = (t) => Array.from({ length: sample.frames }, (_, k) => sample.state(k + 1, t)).filter((state) => state === "remasked").length;
  return Array.from({ length: sample.length }, (_, t) => t).sort((a, b) => changes(b) - changes(a))[0];
});
await page.locator(".text").first().locator(`[data-position="${position}"]`).hover();
await page.evaluate(() => document.activeElement.blur());
await page.screenshot({ path: picture });
await browser.close();
