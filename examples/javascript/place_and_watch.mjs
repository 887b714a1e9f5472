// Place an order and follow it to its end; the stream resumes by itself. No packages.
// node examples/javascript/place_and_watch.mjs     (Node 22; Node 20 needs --experimental-websocket)
import { randomUUID } from "node:crypto";

const url = process.env.FILLWRIGHT_URL ?? "http://127.0.0.1:3000";
const key = process.env.FILLWRIGHT_API_KEY;
const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Amounts are text: a JavaScript number cannot hold them all.
async function submit(order) {
  const idempotencyKey = randomUUID(); // the same for every try, so that it is accepted once
  for (let attempt = 1; ; attempt++) {
    let problem;
    try {
      const answer = await fetch(`${url}/v1/orders`, {
        method: "POST",
        headers: { ...headers, "Idempotency-Key": idempotencyKey },
        body: JSON.stringify(order),
        signal: AbortSignal.timeout(10_000),
      });
      const body = await answer.json();
      if (answer.ok) return body;
      problem = Object.assign(new Error(`${body.code}: ${body.detail}`), body);
    } catch (lost) {
      problem = Object.assign(lost, { retryable: true });
    }
    if (!problem.retryable || attempt === 5) throw problem;
    await pause(problem.retryAfterMs ?? 200 * 2 ** attempt);
  }
}

// Every event of the order, once each, whatever happens to the connection.
async function* watch(orderId) {
  const over = new Set(["confirmed", "failed", "canceled", "expired"]);
  for (let last = 0; ; await pause(500)) {
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws/orders/${orderId}?after=${last}`);
    const frames = [];
    let wake = () => {};
    let open = true;
    socket.onmessage = (message) => { frames.push(JSON.parse(message.data)); wake(); };
    socket.onclose = socket.onerror = () => { open = false; wake(); };
    while (open || frames.length) {
      if (!frames.length) await new Promise((woken) => { wake = woken; });
      for (const frame of frames.splice(0)) {
        if (frame.seq <= last) continue;
        last = frame.seq;
        yield frame;
        if (over.has(frame.status)) return socket.close();
      }
    }
  }
}

const order = await submit({ pair: "SOL/USDC", side: "sell", amount: "1.5", slippageBps: 50 });
for await (const frame of watch(order.id)) {
  console.log(frame.seq, frame.status, frame.reason ?? frame.txHash ?? frame.error ?? "");
}
const ended = await (await fetch(`${url}/v1/orders/${order.id}`, { headers })).json();
console.log(`${ended.amountIn} ${ended.tokenIn} -> ${ended.amountOut} ${ended.tokenOut} at ${ended.executedPrice}`);

await submit({ pair: "SOL/USDC", side: "sell", amount: "-1" }).catch((problem) => {
  console.log("refused:", problem.code, problem.errors[0].pointer);
});
