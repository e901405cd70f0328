// SPDX-License-Identifier: Apache-2.0
// Receives the status of the stream, and sends what the operator changes.
import { Picture } from "./picture.js";
import { Plots } from "./plots.js";

const byId = (id) => document.getElementById(id);
const picture = new Picture(byId("picture"));
const plots = new Plots(byId("age-plot"), byId("drop-plot"));
const slider = byId("threshold");
let lastEvent = 0;
let sliding = false;
let recording = false;

// Everything that comes from outside is shown by textContent: a name is never read as markup.
function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function showState(state) {
  say("state", state);
  byId("state").dataset.state = state;
}

function element(kind, text, className) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

const rounded = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function showTargets(targets) {
  const rows = targets.map((target) => {
    const row = document.createElement("tr");
    const track = target.track_id >= 0 ? String(target.track_id) : "–";
    const cells = [track, rounded(target.x, 1), rounded(target.y, 1), rounded(target.score, 2)];
    cells.push(rounded(target.snr, 1), String(target.area_px));
    row.append(...cells.map((cell) => element("td", cell)));
    return row;
  });
  byId("rows").replaceChildren(...rows);
}

function showEvents(events) {
  if (events.length && events[events.length - 1].number < lastEvent) {
    lastEvent = 0; // the server was started again and counts anew
    byId("events").replaceChildren();
  }
  for (const event of events) {
    if (event.number <= lastEvent) continue;
    lastEvent = event.number;
    const time = element("time", event.utc.slice(11, 19));
    time.dateTime = event.utc;
    const item = element("li", "", event.kind);
    item.append(time, event.text);
    byId("events").prepend(item);
  }
  while (byId("events").children.length > 200) byId("events").lastChild.remove();
}

function show(status) {
  const { result, stats } = status;
  showState(status.state);
  if (!sliding) {
    slider.value = String(status.threshold);
    say("threshold-value", status.threshold_text);
  }
  byId("reset").disabled = !status.threshold_changed;
  recording = status.recording !== null;
  byId("record").setAttribute("aria-pressed", String(recording));
  say("record", recording ? "Stop recording" : "Record");
  showEvents(status.events);
  plots.add(status);
  if (!result) return;
  const tracks = result.tracks.filter((track) => track.state !== "tentative");
  say("count", String(result.targets.length));
  say("tracks", String(tracks.length));
  say("frame", `frame ${result.frame_id}, ${result.shape[1]} × ${result.shape[0]}`);
  say("flags", result.flags.join(", "));
  const age = result.timing.age_ms ?? result.timing.total_ms;
  say("age", `${age.toFixed(0)} ms`);
  say("rates", `${stats.captured_fps.toFixed(1)} captured, ${stats.fps.toFixed(1)} processed`);
  showTargets(result.targets);
  picture.show(status);
}

async function change(path, value) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-pitviper": "1" },
      body: JSON.stringify(value),
    });
    say("message", answer.ok ? "" : await answer.text());
  } catch {
    say("message", "The server does not answer.");
  }
}

slider.addEventListener("input", () => {
  sliding = true;
  say("threshold-value", String(Number(slider.value)));
});
slider.addEventListener("change", async () => {
  await change("/api/threshold", { threshold: Number(slider.value) });
  sliding = false;
});
byId("reset").addEventListener("click", () => change("/api/threshold", { reset: true }));
byId("record").addEventListener("click", () => change("/api/recording", { recording: !recording }));
byId("snapshot").addEventListener("click", () => window.location.assign("/api/snapshot"));
byId("hold").addEventListener("click", () => {
  picture.held = !picture.held;
  byId("hold").setAttribute("aria-pressed", String(picture.held));
});

async function showAbout() {
  const about = await (await fetch("/api/about")).json();
  say("source", about.source);
  document.title = `pitviper: ${about.source}`;
  byId("record").disabled = !about.recording_possible;
  byId("record").title = about.recording_possible ? "" : "start the server with --record-dir to record";
  const { name, version, device, precision } = about.engine;
  say("about", `${about.model} on ${name} ${version}, ${device}, ${precision}`);
}

const events = new EventSource("/api/events");
events.addEventListener("open", () => showAbout().catch(() => {}));
events.addEventListener("message", (event) => show(JSON.parse(event.data)));
events.addEventListener("error", () => {
  // A stream that has ended closes the connection by itself, and says so in its last status.
  if (!["ended", "failed", "closed"].includes(byId("state").dataset.state)) showState("no connection");
});
