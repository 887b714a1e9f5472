// The engine, asked and listened to.
// Decides: how a call is sent and a refusal told, and which orders are known. Must never: show an order older than one
// already seen (seq decides), or two rows for one order.

import { ENDED } from "./dom.js";

const ANSWER_WITHIN_MS = 10_000;
const SILENCE_MS = 40_000; // heartbeats come every 15 s
const PAUSES_MS = [300, 700, 1_500, 3_000, 5_000];
const TOGETHER_MS = 60; // orders that come together are read together
const ASK_EVERY_MS = 500;
const TELL_EVERY_MS = 120;
const PAGE = 300; // orders that are held at first, the newest, and that each wish for older ones adds
const HELD_MAX = 900; // one call tells at most 1000

// --- calls ------------------------------------------------------------------------------------------------------

export class Problem extends Error {
  constructor(told, status) {
    super(told.detail);
    this.title = told.title;
    this.detail = told.detail;
    this.code = told.code;
    this.errors = told.errors ?? [];
    this.status = status;
  }
}

let asking = null; // one dialog, however many calls wait for it
let isDismissed = false; // then only the banner asks

function storedKey() {
  try {
    return sessionStorage.getItem("key");
  } catch {
    return null;
  }
}

// Ask for an API key, with what was wrong about the last one. Whether there is a new one.
export function askKey(why = "") {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const input = dialog.querySelector("input");
    input.value = "";
    document.getElementById("key-refused").textContent = why;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      isDismissed = dialog.returnValue !== "use";
      if (!isDismissed) sessionStorage.setItem("key", input.value.trim());
      live.dispatchEvent(new Event("state"));
      resolve(!isDismissed);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

// The answer's JSON. Raises Problem: the engine's own words, or that it did not answer (status 0).
export async function call(path, { method = "GET", body, idempotencyKey, ifMatch, signal } = {}) {
  const key = storedKey();
  const response = await request(path, { method, body, idempotencyKey, ifMatch, signal });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401 && !isDismissed) {
    const isNew = storedKey() !== key || (await askKey(key ? "The engine does not accept this key." : ""));
    if (isNew) return call(path, { method, body, idempotencyKey, ifMatch, signal });
  }
  const told = answer?.title ? answer : { title: `The engine answered ${response.status}`, detail: "without saying why." };
  throw new Problem(told, response.status);
}

export async function text(path) {
  const response = await request(path, { method: "GET" });
  if (!response.ok) throw new Problem({ title: `The engine answered ${response.status}`, detail: `to ${path}.` }, response.status);
  return response.text();
}

// What a part of the page may live without: null where this engine does not offer it.
export async function ifOffered(path) {
  try {
    return await call(path);
  } catch {
    return null;
  }
}

async function request(path, { method, body, idempotencyKey, ifMatch, signal }) {
  const headers = { Accept: path === "/metrics" ? "text/plain" : "application/json" };
  const key = storedKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined || method !== "GET") headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  if (ifMatch) headers["If-Match"] = ifMatch;
  const late = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ title: "The engine did not answer", detail: "Nothing is known about this request; it is safe to try again." }, 0);
  }
}

export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function isLocked() {
  return isDismissed;
}

// --- the live orders ----------------------------------------------------------------------------------------------

const ASKED = [
  "id", "orderId", "clientOrderId", "type", "side", "pair", "tokenIn", "tokenOut", "mintIn", "mintOut", "amount", "amountMode",
  "slippageBps", "maxPriceImpactBps", "deadlineMs", "deadlineAt", "routing", "tags", "createdAt",
  "limitPrice", "trigger", "trail", "timeInForce", "expireAt", "schedule", "sniper", "pool", "linkedTo",
];
const RETELLING = new Set(["amended", "trailed", "released", "sniped", "declined"]); // events that change what is asked for

// The newest orders of the account, kept up to date. Events: "orders" (some changed), "frame" (an event of one order),
// "state" (of the connection), "caught-up" (everything that was missed is known now).
class Live extends EventTarget {
  constructor() {
    super();
    this.orders = new Map();
    this._size = PAGE;
    this.state = "connecting";
    this.isComplete = false; // whether an older order exists that is not held
    this.loaded = false;
    this._failures = 0;
    this._unknown = new Set();
    this._askedAt = 0;
    this._told = false;
    this._toldAt = 0;
  }

  start() {
    this._connect();
    addEventListener("online", () => this._hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this._hurry());
  }

  get hasOlder() {
    return this.loaded && !this.isComplete && this._size < HELD_MAX;
  }

  // Hold more of the older orders from now on.
  showOlder() {
    this._size += PAGE;
    if (this._socket) this._catchUp(this._socket);
  }

  newestFirst() {
    return [...this.orders.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  // An order as another call has told it.
  take(order) {
    const known = this.orders.get(order.id);
    if (known && known.seq > order.seq) return;
    this.orders.set(order.id, order);
    this._trim();
    this._changed();
  }

  async _connect() {
    let socket;
    try {
      const ticket = storedKey() ? await call("/v1/stream-ticket", { method: "POST", body: {} }) : null;
      const query = ticket ? `?ticket=${encodeURIComponent(ticket.ticket)}` : "";
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      socket = this._socket = new WebSocket(`${scheme}://${location.host}/v1/stream${query}`);
    } catch {
      this._again();
      return;
    }
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", reqId: 1, orderId: null }));
    socket.onmessage = (message) => this._hear(socket, JSON.parse(message.data));
    socket.onclose = () => socket === this._socket && this._again();
    this._listen(socket);
  }

  // A connection that died without a word is closed, so that it is made again.
  _listen(socket) {
    clearTimeout(this._silence);
    this._silence = setTimeout(() => socket.close(), SILENCE_MS);
  }

  _again() {
    clearTimeout(this._silence);
    this._socket = null;
    this._enter("waiting");
    const pause = PAUSES_MS[Math.min(this._failures++, PAUSES_MS.length - 1)];
    this._retry = setTimeout(() => this._connect(), pause * (0.7 + Math.random() * 0.6));
    if (this._failures > 1) this._whyNot();
  }

  // A socket that is refused does not say why; an ordinary call does, and asks for a key where that is the reason.
  async _whyNot() {
    if (this.loaded || this._isAsking) return;
    this._isAsking = true;
    await ifOffered("/v1/orders?limit=1");
    this._isAsking = false;
  }

  _hurry() {
    if (this._socket !== null) return;
    clearTimeout(this._retry);
    this._connect();
  }

  _hear(socket, frame) {
    this._listen(socket);
    if (frame.type === "subscribed") this._catchUp(socket);
    if (frame.type === "event") this._apply(frame);
  }

  // Whatever is committed from now on arrives by itself; what was before is read now. The seq sorts out the overlap.
  async _catchUp(socket) {
    try {
      const page = await call(`/v1/orders?limit=${this._size}`);
      if (socket !== this._socket) return;
      const oldest = page.hasMore ? page.data.at(-1).id : "";
      for (const id of [...this.orders.keys()]) if (id < oldest) this.orders.delete(id);
      for (const order of page.data) this.take(order);
      this.isComplete = !page.hasMore;
      this.loaded = true;
      this._failures = 0;
      this._enter("live");
      this._changed();
      this.dispatchEvent(new Event("caught-up"));
    } catch {
      socket.close();
    }
  }

  _apply(frame) {
    const order = this.orders.get(frame.orderId);
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
    if (!order || RETELLING.has(frame.cause)) {
      this._unknown.add(frame.orderId);
      this._asking ??= setTimeout(() => this._askForUnknown(), Math.max(TOGETHER_MS, this._askedAt + ASK_EVERY_MS - performance.now()));
    }
    if (!order) return;
    if (frame.seq <= order.seq) return;
    const { type, orderId, timestamp, cause, quotes, chosen, retryAt, ...told } = frame;
    const asked = Object.fromEntries(ASKED.filter((name) => name in order).map((name) => [name, order[name]]));
    const cancelRequested = (order.cancelRequested || cause === "cancel_requested") && !ENDED.has(frame.status);
    this.orders.set(order.id, { ...asked, ...told, type: order.type, cancelRequested, retryAt, updatedAt: timestamp });
    this._changed();
  }

  // A frame does not tell what is asked for: orders that are new, or ask for something else now, are read, many of them in one call.
  async _askForUnknown() {
    const ids = [...this._unknown];
    this._unknown.clear();
    this._asking = undefined;
    this._askedAt = performance.now();
    try {
      if (ids.length === 1) this.take(await call(`/v1/orders/${ids[0]}`));
      else for (const order of (await call(`/v1/orders?limit=${PAGE}`)).data) this.take(order);
    } catch {
      // The next frame asks again, and so does the next connection.
    }
  }

  _trim() {
    if (this.orders.size <= this._size) return;
    const oldest = [...this.orders.keys()].sort();
    for (const id of oldest.slice(0, this.orders.size - this._size)) this.orders.delete(id);
    this.isComplete = false;
  }

  // A few times a second, however many orders changed: nobody reads faster.
  _changed() {
    if (this._told) return;
    this._told = true;
    const tell = () => {
      this._told = false;
      this._toldAt = performance.now();
      this.dispatchEvent(new Event("orders"));
    };
    setTimeout(() => (document.hidden ? tell() : requestAnimationFrame(tell)), Math.max(0, this._toldAt + TELL_EVERY_MS - performance.now()));
  }

  _enter(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

export const live = new Live();

// Listen to several of its events until the answer is called.
export function listen(handlers) {
  for (const [name, handler] of Object.entries(handlers)) live.addEventListener(name, handler);
  return () => {
    for (const [name, handler] of Object.entries(handlers)) live.removeEventListener(name, handler);
  };
}
