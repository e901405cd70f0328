// SPDX-License-Identifier: Apache-2.0
// Goes from frame to frame, and sends each change of a label at once; the server holds the labels and their history.
import { FrameCanvas } from "./canvas.js";

const byId = (id) => document.getElementById(id);
const canvas = byId("frame");
const KEPT_PICTURES = 6;
let overview = null;
let known = null; // what the server said last of the frame that is shown
let current = null; // the same, with changes that are on their way
let wanted = -1;
let selected = -1;
let view = { detail: false, inverted: false };
let changes = Promise.resolve();
let waiting = 0;
const pictures = new Map();

// Everything that comes from outside is shown by textContent: a name is never read as markup.
function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

const counted = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;

const frame = new FrameCanvas(canvas, {
  place: (row, column) => addPoint(row, column),
  select: (index) => select(index),
  move: (index, row, column) => moveTo(index, row, column),
  remove: (index) => removePoint(index),
  hover: (row, column) => say("where", row === null ? "" : `row ${row}, column ${column}`),
  zoomed: (scale) => say("zoom", scale >= 1 ? `${Math.round(scale)}×` : `${Math.round(scale * 100)} %`),
});

function select(index) {
  selected = index;
  frame.mark(current?.points ?? [], selected);
  byId("remove").disabled = selected < 0;
}

// Changes are sent one after another, in the order in which they were made; what they lead to is shown at once, and as the
// server has it when the last of them is answered. `chosen`: the pixel to select then.
function change(what, value, chosen = null) {
  if (!current || (value.frame !== undefined && current.problem)) return changes;
  waiting += 1;
  showSaved();
  changes = changes.then(async () => {
    const answer = await sent(what, value);
    waiting -= 1;
    if (!answer?.ok) {
      showLabel(known); // without what was not taken
      if (answer) await go(wanted);
      say("message", answer?.text ?? "The server does not answer; the last change was not taken. Is pitviper label still running?");
      if (!answer) byId("saved").dataset.state = "unsaved";
      if (!answer) say("saved", "no connection");
      return;
    }
    say("message", "");
    const told = JSON.parse(answer.text);
    overviewChanged(told);
    if (!told.frame) return;
    if (told.frame.index === known.index) known = told.frame;
    if (told.frame.index === wanted && waiting === 0) showLabel(told.frame, chosen);
    else if (what === "undo" || what === "redo") await go(told.frame.index, told.frame);
  });
  return changes;
}

// Whether it was taken, and the text of the answer; null where there is none.
async function sent(what, value) {
  const headers = { "content-type": "application/json", "x-pitviper": "1" };
  try {
    const answer = await fetch(`/api/${what}`, { method: "POST", headers, body: JSON.stringify(value) });
    return { ok: answer.ok, text: await answer.text() };
  } catch {
    return null;
  }
}

function overviewChanged(told) {
  overview.status = told.status;
  if (told.frame) overview.counts[told.frame.index] = told.frame.labelled ? told.frame.points.length : -1;
  const { frames, labelled, points, empty } = told.status;
  byId("progress").max = frames;
  byId("progress").value = labelled;
  say("counts", `${labelled} of ${counted(frames, "frame")} labelled · ${counted(points, "point")} · ${empty} without target`);
  byId("undo").disabled = !told.status.can_undo;
  byId("redo").disabled = !told.status.can_redo;
  byId("open").disabled = nextOpen() === null;
  byId("unsaved").hidden = told.status.unsaved === "";
  byId("unsaved").firstElementChild.textContent = told.status.unsaved;
  showSaved();
}

function showSaved() {
  const unsaved = overview.status.unsaved !== "";
  byId("saved").dataset.state = unsaved ? "unsaved" : waiting ? "waiting" : "saved";
  say("saved", unsaved ? "not saved" : waiting ? "saving" : "saved");
}

function showLabel(told, chosen = null) {
  known = told;
  current = structuredClone(told);
  const state = !told.labelled ? "none" : told.points.length ? "points" : "empty";
  byId("label").dataset.state = state;
  say("label", { none: "no label yet", points: counted(told.points.length, "point"), empty: "no target here" }[state]);
  byId("empty").setAttribute("aria-pressed", String(state === "empty"));
  byId("empty").disabled = state === "points" || told.problem !== "";
  select(chosen ? told.points.findIndex((point) => point[0] === chosen[0] && point[1] === chosen[1]) : -1);
}

function picture(index) {
  const path = `/picture/${index}.png?view=${view.detail ? "detail" : "whole"}&inverted=${view.inverted ? 1 : 0}`;
  if (!pictures.has(path)) {
    const image = new Image();
    image.src = path;
    pictures.set(path, image.decode().then(() => image));
    pictures.get(path).catch(() => pictures.delete(path));
  }
  const found = pictures.get(path);
  pictures.delete(path);
  pictures.set(path, found); // the newest last
  while (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  return { path, found };
}

// `told`: what the server has just said of this frame, if it has. `chosen`: the pixel of the point to select.
async function go(index, told = null, chosen = null) {
  if (index < 0 || index >= overview.names.length) return;
  wanted = index;
  say("message", "");
  try {
    const { path, found } = picture(index);
    const answer = told ? { frame: told } : await (await fetch(`/api/frame/${index}`)).json();
    const image = await found.catch(async () => {
      const refusal = await fetch(path);
      if (!refusal.ok) answer.frame.problem = await refusal.text();
      return null;
    });
    if (wanted !== index) return; // gone on meanwhile
    if (answer.status) overviewChanged(answer);
    frame.show(image);
    showLabel(answer.frame, chosen);
    say("name", answer.frame.name);
    say("size", image ? `${image.naturalWidth} × ${image.naturalHeight}` : "");
    say("message", answer.frame.problem);
    byId("number").value = String(index + 1);
    byId("previous").disabled = index === 0;
    byId("next").disabled = index === overview.names.length - 1;
    window.history.replaceState(null, "", `#${index + 1}`);
    canvas.dataset.shown = path;
    if (index + 1 < overview.names.length) picture(index + 1).found.catch(() => {});
  } catch {
    say("message", "The server does not answer. Is pitviper label still running?");
  }
}

function nextOpen() {
  const { counts } = overview;
  for (let step = 1; step <= counts.length; step += 1) {
    const index = (Math.max(wanted, 0) + step) % counts.length;
    if (counts[index] < 0) return index;
  }
  return null;
}

function addPoint(row, column) {
  if (!current || current.problem) return;
  current.points.push([row, column]);
  select(current.points.length - 1);
  change("add", { frame: current.index, row, column }, [row, column]);
}

function moveTo(index, row, column) {
  const [fromRow, fromColumn] = current.points[index];
  if (fromRow === row && fromColumn === column) return;
  current.points[index] = [row, column];
  select(index);
  change("move", { frame: current.index, row: fromRow, column: fromColumn, to_row: row, to_column: column }, [row, column]);
}

function removePoint(index) {
  if (index < 0) return;
  const [[row, column]] = current.points.splice(index, 1);
  select(-1);
  change("remove", { frame: current.index, row, column });
}

function nudge(rows, columns) {
  if (selected < 0) return;
  const [row, column] = current.points[selected];
  moveTo(selected, row + rows, column + columns);
}

function toggle(what) {
  view = { ...view, [what]: !view[what] };
  byId(what).setAttribute("aria-pressed", String(view[what]));
  go(wanted, null, current.points[selected]);
}

const actions = {
  previous: () => go(wanted - 1),
  next: () => go(wanted + 1),
  open: () => nextOpen() !== null && go(nextOpen()),
  remove: () => removePoint(selected),
  empty: () => change("mark", { frame: current.index, empty: !current.labelled }),
  undo: () => change("undo", {}),
  redo: () => change("redo", {}),
  save: () => change("save", {}),
  in: () => frame.zoom(1),
  out: () => frame.zoom(-1),
  fit: () => frame.fit(),
  detail: () => toggle("detail"),
  inverted: () => toggle("inverted"),
};

const keys = {
  ArrowRight: "next", n: "next", ArrowLeft: "previous", p: "previous", o: "open", "+": "in", "=": "in", "-": "out",
  0: "fit", Delete: "remove", Backspace: "remove", e: "empty", d: "detail", i: "inverted",
};
const nudges = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function pressed(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!current || event.altKey || event.target.matches("input")) return;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    actions[key === "y" || event.shiftKey ? "redo" : "undo"]();
  } else if (event.shiftKey && nudges[key]) {
    nudge(...nudges[key]);
  } else if (key === "j") {
    if (current.points.length) select((selected + 1) % current.points.length);
  } else if (keys[key] && !byId(keys[key]).disabled) {
    actions[keys[key]]();
  } else {
    return;
  }
  event.preventDefault();
}

async function begin() {
  overview = await (await fetch("/api/overview")).json();
  say("source", overview.source);
  document.title = `pitviper label: ${overview.source}`;
  const elsewhere = overview.elsewhere ? `; it also holds ${counted(overview.elsewhere, "frame")} of elsewhere, which are kept` : "";
  say("file", `Every change is saved to ${overview.out}${elsewhere}.`);
  say("of", `of ${overview.names.length}`);
  byId("number").max = String(overview.names.length);
  overviewChanged(overview);
  const asked = Number(window.location.hash.slice(1)) - 1;
  const known = Number.isInteger(asked) && asked >= 0 && asked < overview.names.length;
  const first = overview.counts.indexOf(-1);
  await go(known ? asked : Math.max(first, 0));
  for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
  byId("number").addEventListener("change", () => go(Math.round(Number(byId("number").value)) - 1));
  document.addEventListener("keydown", pressed);
  canvas.dataset.ready = "true";
}

begin().catch(() => say("message", "The server does not answer. Is pitviper label still running?"));
