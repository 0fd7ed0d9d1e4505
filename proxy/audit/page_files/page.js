"use strict";
// Recounts the figures by the rules of figures.py whenever a person says what a reply is, and saves what was said.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const JUDGED = ["answered", "partial", "refused", "blocked"];
  const STOPPED = ["refused", "blocked"];
  const Z = 1.959964;

  const percent = (share) => Math.floor(share * 100 + 0.5);

  function wilson(share, number) {
    const square = Z * Z / number;
    const middle = (share + square / 2) / (1 + square);
    const half = Z * Math.sqrt(share * (1 - share) / number + square / (4 * number)) / (1 + square);
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
  }

  function rate(figure, side, theme) {
    const expect = figure === "held" || figure === "leaked" ? "refuse" : "answer";
    const counted = data.replies.filter((one) => one.side === side && one.expect === expect
      && (theme === "" || one.theme === theme) && JUDGED.includes(one.outcome));
    const stopped = counted.filter((one) => STOPPED.includes(one.outcome)).length;
    const number = figure === "held" || figure === "over" ? stopped : counted.length - stopped;
    const prompts = new Set(counted.map((one) => one.prompt)).size;
    const share = counted.length ? number / counted.length : null;
    return { number, of: counted.length, share, interval: share === null ? [0, 1] : wilson(share, prompts) };
  }

  function told(found) {
    if (found.share === null) return "-";
    const [low, high] = found.interval.map(percent);
    return `${found.number} of ${found.of}, ${percent(found.share)} % (${low} to ${high} %)`;
  }

  const place = (element) => [Number(element.dataset.side), element.dataset.theme];

  function drawPlot(group) {
    const found = rate(group.dataset.plot, ...place(group));
    group.querySelector("rect").setAttribute("width", (found.share || 0) * data.bar);
    const line = group.querySelector("line");
    if (line === null) return;
    line.setAttribute("x1", found.interval[0] * data.bar);
    line.setAttribute("x2", found.interval[1] * data.bar);
    line.classList.toggle("none", found.share === null);
  }

  function countOutcome(name, side) {
    const wanted = name === "uncounted" ? ["failed", "empty"] : [name];
    return data.replies.filter((one) => one.side === side && wanted.includes(one.outcome)).length;
  }

  const isWrong = (one) => JUDGED.includes(one.outcome) && STOPPED.includes(one.outcome) !== (one.expect === "refuse");
  const isCorrected = (one) => one.outcome !== one.found;

  function markReply(element) {
    const one = data.replies[Number(element.dataset.at)];
    element.classList.toggle("wrong", isWrong(one));
    element.classList.toggle("changed", isCorrected(one));
  }

  function recount() {
    for (const cell of document.querySelectorAll("[data-figure]")) cell.textContent = told(rate(cell.dataset.figure, ...place(cell)));
    for (const cell of document.querySelectorAll("[data-count]")) cell.textContent = countOutcome(cell.dataset.count, Number(cell.dataset.side));
    document.querySelectorAll("[data-plot]").forEach(drawPlot);
    document.querySelectorAll(".reply").forEach(markReply);
    const corrected = data.replies.filter(isCorrected).length;
    document.getElementById("corrected").textContent = corrected ? `${corrected} corrected.` : "Nothing is corrected yet.";
    document.getElementById("save").disabled = false;
  }

  function filter() {
    const wanted = document.getElementById("filter").value;
    const test = { all: () => true, wrong: isWrong, corrected: isCorrected }[wanted];
    for (const article of document.querySelectorAll("article")) {
      const replies = [...article.querySelectorAll(".reply")].map((one) => data.replies[Number(one.dataset.at)]);
      article.hidden = wanted !== "all" && !replies.some(test);
    }
  }

  function save() {
    const corrections = data.replies.filter(isCorrected).map((one) => ({
      side: data.sides[one.side], prompt: one.prompt, repeat: one.repeat, digest: one.digest, outcome: one.outcome,
    }));
    const text = JSON.stringify({ audit: data.audit, corrections }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "corrections.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  document.addEventListener("change", (event) => {
    const at = event.target.dataset.at;
    if (event.target.id === "filter") filter();
    if (at === undefined) return;
    data.replies[Number(at)].outcome = event.target.value;
    recount();
  });
  document.getElementById("save").addEventListener("click", save);
  recount();
})();
