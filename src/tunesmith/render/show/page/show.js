"use strict";
// Everything that comes from the data goes through textContent: it stays text, whatever it spells.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50;
const FIRST_TOKENS = 3000;
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/gu;
const PARTS = ["template", "text", "reasoning", "tool call"];
const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-US");

let found = [];
let page = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function visible(text) {
  return text.replace(HIDDEN, (character) =>
    `<U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`).replaceAll("\n", "⏎\n");
}

function piece(sheet, index) {
  const own = sheet.texts[index];
  return own === undefined ? data.vocabulary[sheet.ids[index]] : own;
}

/** What the runs say, token by token. */
function marks(sheet) {
  if (!sheet.marks) {
    sheet.marks = [];
    for (const [count, ...mark] of sheet.runs) for (let each = 0; each < count; each++) sheet.marks.push(mark);
  }
  return sheet.marks;
}

/** How many tokens each token sees, itself left out. */
function positions(sheet) {
  if (!sheet.positions) {
    sheet.positions = sheet.ids.map((_, index) => index);
    sheet.branches.forEach(([start, parent], each) => {
      const end = each + 1 < sheet.branches.length ? sheet.branches[each + 1][0] : sheet.ids.length;
      const first = parent < 0 ? 0 : sheet.positions[parent] + 1;
      for (let index = start; index < end; index++) sheet.positions[index] = first + index - start;
    });
  }
  return sheet.positions;
}

/** Spans for the tokens from `start` to `end`; a character that is spread over several tokens is one span. */
function tokens(sheet, start, end) {
  const all = document.createDocumentFragment();
  const known = marks(sheet);
  for (let index = start; index < end; index++) {
    const first = index;
    while (piece(sheet, index) === "" && index + 1 < end) index++;
    const [kind, , weight] = known[index];
    const light = weight < 0 ? " rejected" : weight > 0 && weight !== 1 ? " light" : "";
    const span = element("span", `t ${data.kinds[kind].replace(" ", "-")}${light}`, visible(piece(sheet, index)));
    span.dataset.first = first;
    span.dataset.last = index;
    all.append(span);
  }
  return all;
}

/** A branch's line of origin, where there are several, and its tokens. */
function branch(conversation, sheet, each, place, count) {
  const [start, parent] = sheet.branches[each];
  const end = each + 1 < sheet.branches.length ? sheet.branches[each + 1][0] : sheet.ids.length;
  const parts = [];
  if (count > 1) {
    const origin = element("p", "origin", `Sequence ${place}`);
    if (parent >= 0) {
      let before = "";
      for (let index = parent; index >= 0 && before.length < 40; index--) before = piece(sheet, index) + before;
      origin.append(` continues from token ${number(parent + 1)}: `, element("q", "", `…${visible(before).replaceAll("\n", "")}`));
    }
    parts.push(origin);
  }
  const body = element("pre", "branch");
  body.dataset.sheet = conversation.sheets.indexOf(sheet);
  body.tabIndex = 0;
  const shown = Math.min(end, start + FIRST_TOKENS);
  body.append(tokens(sheet, start, shown));
  parts.push(body);
  if (shown < end) {
    const more = element("button", "more", `Show ${number(end - shown)} more tokens`);
    more.type = "button";
    more.onclick = () => { body.append(tokens(sheet, shown, end)); more.remove(); };
    parts.push(more);
  }
  return parts;
}

function shareBar(share) {
  const space = "http://www.w3.org/2000/svg";
  const bar = document.createElementNS(space, "svg");
  bar.setAttribute("class", "share");
  bar.setAttribute("viewBox", "0 0 100 10");
  bar.setAttribute("preserveAspectRatio", "none");
  bar.setAttribute("aria-hidden", "true");
  const inner = document.createElementNS(space, "rect");
  inner.setAttribute("width", String(100 * share));
  inner.setAttribute("height", "10");
  bar.append(inner);
  return bar;
}

function card(conversation) {
  const made = element("article", "card");
  made.dataset.number = data.conversations.indexOf(conversation);
  const head = element("header");
  const share = conversation.tokens ? conversation.trained / conversation.tokens : 0;
  const counts = element("span", "counts");
  const cut = conversation.cut ? `, ${number(conversation.cut)} cut away` : "";
  counts.append(shareBar(share), `${number(conversation.tokens)} tokens, ` +
    `${number(conversation.trained)} trained (${Math.round(100 * share)} %)${cut}`);
  head.append(element("h2", "", visible(conversation.id)), element("span", "place", visible(conversation.source)), counts);
  made.append(head);
  if (conversation.problem) made.append(element("p", "problem", `${data.fates[conversation.fate]}: ${visible(conversation.problem)}`));
  const count = conversation.sheets.reduce((sum, sheet) => sum + sheet.branches.length, 0);
  let place = 0;
  for (const sheet of conversation.sheets)
    sheet.branches.forEach((_, each) => made.append(...branch(conversation, sheet, each, ++place, count)));
  return made;
}

function wholeText(conversation) {
  conversation.text ??= [conversation.id, conversation.source,
    ...conversation.sheets.map((sheet) => sheet.ids.map((_, index) => piece(sheet, index)).join(""))].join("\n").toLowerCase();
  return conversation.text;
}

const ORDERS = {
  file: null,
  longest: (one, other) => other.length - one.length,
  truncated: (one, other) => other.cut - one.cut,
  share: (one, other) => one.trained / (one.tokens || 1) - other.trained / (other.tokens || 1),
};

function choose() {
  const words = at("search").value.toLowerCase();
  found = data.conversations.filter((each) =>
    (!at("source").value || String(each.file) === at("source").value) &&
    (!at("only").checked || each.fate !== "trained") &&
    (!words || wholeText(each).includes(words)));
  const order = ORDERS[at("order").value];
  if (order) found.sort(order);
  page = 0;
  draw();
}

function draw() {
  const first = page * PAGE;
  const shown = found.slice(first, first + PAGE);
  at("cards").replaceChildren(...shown.map(card));
  const range = shown.length ? `${number(first + 1)} to ${number(first + shown.length)} of ${number(found.length)} conversations`
    : "No conversation is like that";
  for (const below of ["", "-below"]) {
    at(`range${below}`).textContent = range;
    at(`back${below}`).disabled = page === 0;
    at(`next${below}`).disabled = first + PAGE >= found.length;
  }
}

function turn(by) {
  page += by;
  draw();
  at("filters").scrollIntoView();
}

function facts(span) {
  const conversation = data.conversations[span.closest(".card").dataset.number];
  const sheet = conversation.sheets[span.closest("pre").dataset.sheet];
  const first = Number(span.dataset.first);
  const last = Number(span.dataset.last);
  const [kind, part, weight, message] = marks(sheet)[last];
  const place = positions(sheet)[first];
  const rows = [
    [last > first ? "tokens" : "token", sheet.ids.slice(first, last + 1).join(", ")],
    ["text", JSON.stringify(visible(piece(sheet, last)).replaceAll("⏎\n", "\n"))],
    ["loss weight", data.kinds[kind] === "cut" ? "cut away" : String(weight)],
    ["position", number(place)],
  ];
  if (part >= 0) rows.push(["part", PARTS[part]]);
  if (message >= 0) rows.push(["message", `${message + 1}, ${conversation.roles[message]}`]);
  return rows;
}

function showTip(event) {
  const span = event.target.closest?.(".card .t");
  const tip = at("tip");
  tip.hidden = !span;
  if (!span) return;
  const table = element("div");
  for (const [name, value] of facts(span)) table.append(element("b", "", name), element("span", "", value));
  tip.replaceChildren(table);
  const box = span.getClientRects()[0];
  const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - tip.offsetHeight - 8)}px`;
}

data.files.forEach((name, each) => {
  const option = element("option", "", visible(name));
  option.value = each;
  at("source").append(option);
});
for (const id of ["source", "order", "only"]) at(id).addEventListener("change", choose);
let waiting;
at("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 150); });
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("borders").addEventListener("change", () => document.body.classList.toggle("borders", at("borders").checked));
for (const below of ["", "-below"]) {
  at(`back${below}`).addEventListener("click", () => turn(-1));
  at(`next${below}`).addEventListener("click", () => turn(1));
}
document.addEventListener("pointerover", showTip);
document.addEventListener("scroll", () => { at("tip").hidden = true; }, { passive: true, capture: true });
choose();
