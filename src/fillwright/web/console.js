"use strict";

const form = document.getElementById("order");
const cancel = document.getElementById("cancel");
const state = document.getElementById("state");
const rows = document.getElementById("frames");
const ENDED = new Set(["confirmed", "failed", "canceled", "expired"]);
const IN_COLUMNS = new Set(["type", "orderId", "seq", "timestamp", "status", "cause", "quotes", "chosen"]);
let current = null; // the order on the page: {id, seq, ended}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const order = Object.fromEntries(new FormData(form));
  const answer = await call("/v1/orders", { method: "POST", body: JSON.stringify(order) });
  if (!answer) return;
  current = { id: answer.orderId, seq: 0, ended: false };
  rows.replaceChildren();
  rows.closest("table").hidden = false;
  cancel.disabled = false;
  say(`Order ${current.id} is stored.`);
  follow(current);
});

cancel.addEventListener("click", async () => {
  const answer = await call(`/v1/orders/${current.id}`, { method: "DELETE" });
  if (answer && answer.status === "submitted") say("The swap may be on the chain; the cancel waits for its outcome.");
});

async function call(path, options) {
  const key = options.method === "POST" ? { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) } : {};
  try {
    const response = await fetch(path, { ...options, headers: { "Content-Type": "application/json", ...key } });
    const answer = await response.json();
    if (response.ok) return answer;
    say(`${answer.title}: ${answer.detail}`);
  } catch {
    say("The engine did not answer.");
  }
  return null;
}

function follow(order) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws/orders/${order.id}?after=${order.seq}`);
  socket.onmessage = (message) => {
    const frame = JSON.parse(message.data);
    if (order !== current) return socket.close();
    if (frame.type === "event" && frame.seq > order.seq) show(order, frame);
  };
  socket.onclose = () => {
    if (order === current && !order.ended) setTimeout(follow, 1000, order);
  };
}

function show(order, frame) {
  order.seq = frame.seq;
  order.ended = ENDED.has(frame.status);
  if (order.ended) cancel.disabled = true;
  say(`Order ${order.id} is ${frame.status}.`);
  const details = Object.entries(frame).filter(([name]) => !IN_COLUMNS.has(name)).map(([name, value]) => `${name}: ${value}`);
  for (const quote of frame.quotes ?? []) {
    details.push(`${quote.venue}: ${quote.error ?? `${quote.amountIn} → ${quote.amountOut} at ${quote.price}`}`);
  }
  const row = rows.insertRow();
  const cells = [frame.seq, new Date(frame.timestamp).toLocaleTimeString(), frame.status, frame.cause, details.join(" · ")];
  for (const text of cells) row.insertCell().textContent = text;
}

function say(text) {
  state.textContent = text;
}
