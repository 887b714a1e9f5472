// Prometheus' text, read.
// Decides: how samples are found and a histogram's quantile is estimated. Must never: make up a sample.

// Lists of {labels, value} by metric name.
export function parse(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    if (!metrics.has(match[1])) metrics.set(match[1], []);
    metrics.get(match[1]).push({ labels, value: Number(match[3].replace("Inf", "Infinity")) });
  }
  return metrics;
}

// The sum over all samples that have these labels; undefined where there is none.
export function valued(metrics, name, labels = {}) {
  const found = (metrics.get(name) ?? []).filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  return found.length ? found.reduce((sum, sample) => sum + sample.value, 0) : undefined;
}

// [label's value, sum] of one label.
export function counted(metrics, name, label) {
  const sums = new Map();
  for (const sample of metrics.get(name) ?? []) sums.set(sample.labels[label], (sums.get(sample.labels[label]) ?? 0) + sample.value);
  return sums;
}

// The upper end of the bucket that holds the quantile, as Prometheus counts; undefined without observations.
export function quantile(metrics, name, part, labels = {}) {
  const buckets = new Map();
  for (const sample of metrics.get(`${name}_bucket`) ?? []) {
    if (!Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) continue;
    const edge = sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le);
    buckets.set(edge, (buckets.get(edge) ?? 0) + sample.value);
  }
  const edges = [...buckets].sort(([a], [b]) => a - b);
  const all = edges.at(-1)?.[1];
  return all ? edges.find(([, count]) => count >= all * part)?.[0] : undefined;
}
