"use strict";
/* Draws an exhibit where it stands in the page, and draws it anew as its controls say. */
const laboratory = (() => {
  const NARROW = 560;
  const AXIS = 78; // pixels left of a panel

  function unpacked(columns) {
    const names = Object.keys(columns);
    const read = names.map((name) => {
      const column = columns[name];
      return column.levels ? (i) => column.levels[column.codes[i]] : (i) => column[i];
    });
    const first = columns[names[0]];
    const count = (first.codes ?? first).length;
    return Array.from({ length: count }, (_, i) =>
      Object.fromEntries(names.map((name, k) => [name, read[k](i)])));
  }

  // As the pages write numbers: 4 digits, powers of ten outside of 0.0001 to 9999.
  function written(value) {
    if (value === null || value === undefined) return "–";
    const [digits, power] = value.toExponential(3).split("e").map(Number);
    if (value === 0 || (power >= -4 && power < 4)) {
      return String(Number(value.toPrecision(4))).replace("-", "−");
    }
    return `${String(digits).replace("-", "−")} × 10<sup>${String(power).replace("-", "−")}</sup>`;
  }

  function sized(spec, width) {
    const fit = (panel) => ({ ...panel, width: Math.max(width - AXIS, 160) });
    const whole = spec.vconcat ? { ...spec, vconcat: spec.vconcat.map(fit) } : fit(spec);
    if (width >= NARROW) return whole;
    return JSON.parse(JSON.stringify(whole, (key, value) =>
      key === "columns" && typeof value === "number" ? Math.ceil(value / 2) : value));
  }

  return async function exhibit(given) {
    const place = document.getElementById(given.name);
    const form = place.querySelector("form");
    const chart = place.querySelector(".chart");
    const status = place.querySelector("[role=status]");
    const rows = unpacked(given.rows);
    const facts = given.facts ? unpacked(given.facts) : rows;
    const about = chart.getAttribute("aria-label");
    let view = null;
    let width = 0;

    function chosen() {
      const values = {};
      for (const control of form.elements) {
        if (!control.name) continue;
        if (control.type === "checkbox") values[control.name] = control.checked;
        else if (control.type === "range") {
          values[control.name] = control.dataset.values.split(" ")[control.value];
          control.setAttribute("aria-valuetext", values[control.name]);
          control.parentElement.querySelector("output").value = values[control.name];
        } else if (control.type !== "radio" || control.checked) values[control.name] = control.value;
      }
      return values;
    }

    function said() {
      const parts = [];
      for (const label of form.querySelectorAll("label, legend")) {
        const control = label.querySelector("select, input:not([type=radio])");
        const name = label.firstChild.textContent.trim() || label.textContent.trim();
        if (label.tagName === "LEGEND") {
          const now = label.parentElement.querySelector("input:checked + span");
          parts.push(`${name}: ${now.textContent}`);
        } else if (control?.tagName === "SELECT") {
          parts.push(`${name}: ${control.selectedOptions[0].textContent}`);
        } else if (control?.type === "range") {
          parts.push(`${name}: ${control.getAttribute("aria-valuetext")}`);
        }
      }
      return parts.join("; ");
    }

    function tabulate(values) {
      const kept = facts.filter((row) => given.filters.every((name) =>
        !(name in row) || values[name] === "all" || String(row[name]) === values[name]));
      const body = place.querySelector(".numbers tbody");
      body.innerHTML = kept.map((row) => `<tr>${given.headings.map((name) =>
        typeof row[name] === "string" ? `<td>${row[name]}</td>`
          : `<td class="n">${written(row[name])}</td>`).join("")}</tr>`).join("");
      for (const said_in of [".numbers caption", ".choices"]) {
        place.querySelector(said_in).textContent = said();
      }
    }

    async function draw() {
      width = chart.clientWidth;
      const values = chosen();
      const spec = sized(given.spec, width);
      spec.params = spec.params.map((param) =>
        param.name in values ? { ...param, value: values[param.name] } : param);
      spec.datasets = { ...spec.datasets, rows };
      view?.finalize();
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const drawn = await vegaEmbed(chart, spec, {
        actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" },
      });
      view = drawn.view;
      chart.querySelector("svg").setAttribute("aria-hidden", "true"); // the whole is described
      describe();
    }

    function describe() { // what draws puts words of its own there
      chart.setAttribute("role", "img");
      chart.setAttribute("aria-label", `${about} Shown: ${said()}.`);
    }

    async function change() {
      const values = chosen();
      for (const [name, value] of Object.entries(values)) view.signal(name, value);
      tabulate(values);
      status.textContent = said();
      describe();
      await view.runAsync();
    }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", change);
    for (const button of form.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => {
        const radios = [...button.parentElement.querySelectorAll("[type=radio]")];
        const at = radios.findIndex((radio) => radio.checked) + Number(button.dataset.move);
        radios[Math.min(Math.max(at, 0), radios.length - 1)].checked = true;
        change();
      });
    }
    form.hidden = false;
    await draw();
    tabulate(chosen());
    let waiting = 0;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      if (Math.abs(chart.clientWidth - width) > 4) waiting = setTimeout(draw, 120);
    }).observe(chart);
    place.dataset.ready = String(Math.round(performance.now()));
  };
})();
