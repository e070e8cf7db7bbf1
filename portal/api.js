// Calls the API that other programs use. The browser knows user and password: it asked for them.

// The origin, since a page opened with user and password in its address may not fetch relative to it.
const BASE = `${location.origin}/api/v1`;
const AGAIN_AFTER_MS = 2000;
// Browsers give up what is under way when an interface of their machine comes or goes.
const READ_TRIES = 4;
const TRY_AFTER_MS = 500;

export class Refused extends Error {
  constructor(status, content) {
    super(content?.message || `The node answered ${status}.`);
    this.reason = content?.details?.find((each) => each.reason)?.reason;
  }
}

async function answer(method, path, { body, type = "application/json", signal } = {}) {
  const headers = body === undefined ? {} : { "content-type": type };
  for (let left = method === "GET" ? READ_TRIES : 1; ; left--) {
    try {
      return await fetch(BASE + path, { method, headers, body, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      if (left <= 1) throw new Refused(0, { message: "The node does not answer; try again in a moment." });
      await pause(TRY_AFTER_MS);
    }
  }
}

async function content(reply) {
  const text = await reply.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!reply.ok) throw new Refused(reply.status, value);
  return value;
}

export const get = async (path, signal) => content(await answer("GET", path, { signal }));
export const remove = async (path) => content(await answer("DELETE", path));
export const send = async (method, path, value = {}) => content(await answer(method, path, { body: JSON.stringify(value) }));
export const upload = async (method, path, tar) => content(await answer(method, path, { body: tar, type: "application/x-tar" }));

// Hands each object of a stream to `handle` until the stream ends.
async function read(path, signal, handle) {
  const reply = await answer("GET", path, { signal });
  if (!reply.ok) return content(reply);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return null;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) handle(JSON.parse(line));
  }
}

// The same, and begins anew when the stream breaks off: `restart` is called before each begin.
export async function follow(path, signal, handle, restart = () => {}) {
  await repeat(AGAIN_AFTER_MS, signal, () => {
    restart();
    return read(path, signal, handle);
  });
}

// Does something at once and then again and again, while somebody looks. A node that does not answer may do so the
// next time.
export async function repeat(periodMs, signal, act) {
  while (!signal.aborted) {
    try {
      if (!document.hidden) await act();
    } catch (error) {
      if (signal.aborted || error.reason) throw error;
    }
    await pause(periodMs);
  }
}

const pause = (periodMs) => new Promise((resolve) => setTimeout(resolve, periodMs));
