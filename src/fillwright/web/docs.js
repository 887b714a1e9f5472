// Lists the operations and sockets that the two documents describe. Text only ever becomes text, never markup.
"use strict";

const el = (name, text, ...children) => {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};

// What stands between backticks is code.
const words = (name, text) =>
  el(name, "", ...text.split("`").map((part, nth) => (nth % 2 ? el("code", part) : part)));

// A schema as people write an example of it: names, types, and what is optional.
const shape = (schema, schemas, indent, seen) => {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name)) return name;
    return shape(schemas[name], schemas, indent, [...seen, name]);
  }
  if (schema.allOf) return shape(schema.allOf[0], schemas, indent, seen);
  if (schema.anyOf) return schema.anyOf.map((each) => shape(each, schemas, indent, seen)).join(" | ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.type === "array") return `[${shape(schema.items, schemas, indent, seen)}]`;
  if (schema.properties) {
    const pad = "  ".repeat(indent + 1);
    const required = schema.required || [];
    const lines = Object.entries(schema.properties).map(
      ([name, of]) => `${pad}${name}${required.includes(name) ? "" : "?"}: ${shape(of, schemas, indent + 1, seen)}`
    );
    return `{\n${lines.join("\n")}\n${"  ".repeat(indent)}}`;
  }
  return [schema.type || "any"].flat().join(" | ");
};

const listed = (title, pairs) =>
  pairs.length ? [el("h3", title), el("dl", "", ...pairs.flatMap(([term, what]) => [el("dt", "", term), words("dd", what)]))] : [];

const schemaOf = (part) => Object.values(part.content || {})[0]?.schema;

const foldable = (verb, path, summary, found, fill) => {
  const head = el("summary", "", el("b", verb), el("code", path), words("span", ` ${summary}`));
  const node = el("details", "", head);
  node.dataset.found = `${verb} ${path} ${summary} ${found}`.toLowerCase();
  node.addEventListener("toggle", () => {
    if (node.open && node.children.length === 1) node.append(el("div", "", ...fill()));
  });
  return node;
};

const operation = (verb, path, told, schemas) =>
  foldable(verb, path, told.summary, JSON.stringify(told.responses), () => {
    const params = (told.parameters || []).map((each) => [
      el("code", each.required ? each.name : `${each.name}?`), `${each.in}: ${each.description}`]);
    const body = told.requestBody ? [el("h3", "Request"), el("pre", shape(schemaOf(told.requestBody), schemas, 0, []))] : [];
    const answers = Object.entries(told.responses);
    const good = answers.find(([status]) => status.startsWith("2"));
    const sample = good && schemaOf(good[1]);
    return [
      ...listed("Parameters", params), ...body,
      ...listed("Answers", answers.map(([status, each]) => [el("code", status), each.description])),
      ...(sample ? [el("h3", `Answer ${good[0]}`), el("pre", shape(sample, schemas, 0, []))] : []),
    ];
  });

const channel = (told, messages, schemas) =>
  foldable("ws", told.address, told.description, Object.keys(told.messages).join(" "), () =>
    Object.keys(told.messages).flatMap((name) => [
      el("h3", name), el("pre", shape(messages[name].payload, schemas, 0, []))]));

const load = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

const show = async () => {
  const state = document.getElementById("state");
  const place = document.getElementById("operations");
  try {
    const [http, sockets] = await Promise.all([load("/openapi.json"), load("/asyncapi.json")]);
    for (const { name } of http.tags) {
      place.append(el("h2", name));
      for (const [path, verbs] of Object.entries(http.paths))
        for (const [verb, told] of Object.entries(verbs))
          if (told.tags[0] === name) place.append(operation(verb, path, told, http.components.schemas));
    }
    place.append(el("h2", "sockets"));
    for (const told of Object.values(sockets.channels))
      place.append(channel(told, sockets.components.messages, sockets.components.schemas));
    state.textContent = "";
  } catch (error) {
    state.textContent = `The documents could not be read (${error.message}).`;
  }
};

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const node of document.querySelectorAll("details")) node.hidden = !node.dataset.found.includes(wanted);
});
show();
