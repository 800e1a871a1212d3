"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const body = document.getElementById("rows"), count = document.getElementById("count");
const text = document.getElementById("text"), stack = document.getElementById("stack"), verdict = document.getElementById("verdict");
const MOST = 400;

function cell(row, content, kind) {
  const made = document.createElement("td");
  if (kind === "chip") {
    const chip = document.createElement("span");
    chip.className = "chip " + content;
    chip.textContent = content;
    made.append(chip);
  } else {
    made.textContent = content;
    if (kind) made.className = kind;
  }
  row.append(made);
}

function draw() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = data.rows.filter(([at, id, said, check, error, detail]) =>
    (stack.value === "" || at === Number(stack.value)) && (verdict.value === "" || said === verdict.value) &&
    words.every(word => id.includes(word) || detail.toLowerCase().includes(word)));
  body.replaceChildren(...found.slice(0, MOST).map(([at, id, said, check, error, detail, seconds]) => {
    const row = document.createElement("tr");
    cell(row, id, "id");
    if (data.stacks.length > 1) cell(row, data.stacks[at]);
    cell(row, said, "chip");
    cell(row, error === null ? "–" : error === "beyond" ? "∞" : error.toPrecision(3), "number");
    cell(row, detail || (said === "PASS" ? "" : check), "quiet");
    return row;
  }));
  count.textContent = found.length.toLocaleString() + " cases" + (found.length > MOST ? ", the first " + MOST + " shown" : "");
}

for (const each of [text, stack, verdict]) each.addEventListener("input", draw);
for (const each of document.querySelectorAll(".cell")) each.addEventListener("click", () => {
  text.value = each.dataset.family + "/";
  stack.value = each.dataset.stack;
  verdict.value = "";
  draw();
  document.getElementById("cases").scrollIntoView({ behavior: "smooth" });
});
for (const each of document.querySelectorAll(".script button")) each.addEventListener("click", async () => {
  const pre = each.parentElement.querySelector("pre");
  try { await navigator.clipboard.writeText(pre.textContent); each.textContent = "copied"; }
  catch { getSelection().selectAllChildren(pre); each.textContent = "selected"; }
});
draw();
