// Chromium without a window, driven over its own debugging pipe.
//
//     browser.mjs PROGRAM PROFILE
//
// It reads commands from standard input, one JSON array in a line, and ends with it. The answer to
// each is one line: {"url", "title", "text"} of the page that is there then, or {"error"}.
//
//     ["go", URL]   ["click", SELECTOR]   ["fill", SELECTOR, TEXT]   ["screenshot", PATH]
//
// "go" and "click" wait until a page is loaded.

import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

const [program, profile] = process.argv.slice(2);
const browser = spawn(program, [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  '--hide-scrollbars', '--window-size=900,700', `--user-data-dir=${profile}`, '--remote-debugging-pipe',
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
browser.on('exit', () => process.exit(1));
process.on('exit', () => browser.kill());

const [, , , requests, answers] = browser.stdio;
const waiting = new Map();
let last = 0;
let loaded = () => {};

// The protocol: JSON, each message with a zero byte behind it.
let text = '';
answers.setEncoding('utf8').on('data', (data) => {
  text += data;
  for (let end = text.indexOf('\0'); end >= 0; end = text.indexOf('\0')) {
    const message = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    if (message.method === 'Page.loadEventFired') loaded();
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  }
});

function send(method, params = {}, sessionId = undefined) {
  last += 1;
  const id = last;
  requests.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => {
    waiting.set(id, ({ result, error }) => (error ? reject(new Error(error.message)) : resolve(result)));
  });
}

const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
const page = (method, params) => send(method, params, sessionId);
await page('Page.enable');

async function evaluate(expression) {
  const { result, exceptionDetails } = await page('Runtime.evaluate', { expression, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

function whenLoaded(act) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no page was loaded')), 20_000);
    loaded = () => { clearTimeout(late); loaded = () => {}; resolve(); };
    act().catch(reject);
  });
}

const found = (selector) => `(document.querySelector(${JSON.stringify(selector)}) ?? (() => { throw new Error(${JSON.stringify(`no ${selector}`)}) })())`;
const commands = {
  go: (url) => whenLoaded(async () => {
    const { errorText } = await page('Page.navigate', { url });
    if (errorText) throw new Error(errorText);
  }),
  click: (selector) => whenLoaded(() => evaluate(`${found(selector)}.click()`)),
  fill: (selector, value) => evaluate(`${found(selector)}.value = ${JSON.stringify(value)}`),
  screenshot: async (path) => {
    const { data } = await page('Page.captureScreenshot');
    await writeFile(path, Buffer.from(data, 'base64'));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...parameters] = JSON.parse(line);
  let answer;
  try {
    await commands[name](...parameters);
    answer = await evaluate('({ url: location.href, title: document.title, text: document.body.innerText })');
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
