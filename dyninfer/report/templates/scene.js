"use strict";
// The interactive picture: cells and simulated paths on a canvas, with a slider of time.
// What is drawn stands as JSON beside it (dyninfer/report/scene.py says what).

const FINEST = 9999; // places run from 0 to this
const MARGIN = 14; // pixels around the picture
const REACH = 14; // pixels within which a pointer finds a cell

function startScene(figure) {
  const scene = JSON.parse(figure.querySelector("script").textContent);
  const canvas = figure.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const slider = figure.querySelector("input[type=range]");
  const output = figure.querySelector("output");
  const choice = figure.querySelector("select");
  const button = figure.querySelector("button");
  const legend = figure.querySelector(".legend");
  const tip = figure.querySelector(".tip");
  const {times, cells, paths} = scene;
  // Time is a colour like any other, and the first.
  const colors = [timeColors(scene), ...scene.colors];
  let timer = null;
  let marked = null; // the path under the pointer

  slider.max = times.length - 1;
  slider.value = slider.max;
  colors.forEach((color, i) => choice.add(new Option(color.name, i)));

  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const steps = () => (darkness.matches ? scene.steps.dark : scene.steps.light);
  const now = () => times[slider.value];
  const written = (time) => `${+time.toPrecision(4)} ${scene.unit}`.trim();
  const place = (x, y) => [
    MARGIN + (x / FINEST) * (canvas.clientWidth - 2 * MARGIN),
    canvas.clientHeight - MARGIN - (y / FINEST) * (canvas.clientHeight - 2 * MARGIN),
  ];

  // Cells of the observed time that is nearest to the slider stand out.
  function nearestObserved() {
    const gaps = scene.observed.map((time) => Math.abs(time - now()));
    return gaps.indexOf(Math.min(...gaps));
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawCells();
    drawPaths();
    drawLabels();
    output.textContent = written(now());
  }

  function drawCells() {
    const color = colors[choice.value];
    const palette = colorOf(color, steps());
    const near = nearestObserved();
    const n = cells.x.length;
    for (const isNear of [false, true]) {
      pen.globalAlpha = isNear ? 0.95 : 0.3;
      for (let i = 0; i < n; i++) {
        if ((cells.time[i] === near) !== isNear || cells.x[i] < 0) continue;
        pen.fillStyle = palette(color.values[i]);
        dot(cells.x[i], cells.y[i], isNear ? 3.2 : 2);
      }
    }
    pen.globalAlpha = 1;
  }

  // What a path did lately is dark, what it did before is faint.
  function drawPaths() {
    const last = +slider.value;
    const recent = Math.max(0, last - Math.ceil(times.length / 6));
    pen.strokeStyle = pen.fillStyle = getComputedStyle(figure).color;
    for (let p = 0; p < paths.x.length; p++) {
      const isMarked = p === marked;
      stroke(p, 0, recent, isMarked ? 2 : 0.7, isMarked ? 1 : 0.13);
      stroke(p, recent, last, isMarked ? 2 : 0.9, isMarked ? 1 : 0.55);
      pen.globalAlpha = 1;
      dot(paths.x[p][last], paths.y[p][last], isMarked ? 4.5 : 2.6);
    }
  }

  function stroke(p, first, last, width, opacity) {
    pen.lineWidth = width;
    pen.globalAlpha = opacity;
    pen.beginPath();
    for (let k = first; k <= last; k++) pen.lineTo(...place(paths.x[p][k], paths.y[p][k]));
    pen.stroke();
  }

  function drawLabels() {
    pen.globalAlpha = 0.7;
    pen.font = "12px system-ui, sans-serif";
    const [across, up] = scene.labels;
    pen.fillText(`${across} →`, canvas.clientWidth - pen.measureText(`${across} →`).width - 8, canvas.clientHeight - 8);
    pen.fillText(`↑ ${up}`, 8, 18);
    pen.globalAlpha = 1;
  }

  function dot(x, y, radius) {
    pen.beginPath();
    pen.arc(...place(x, y), radius, 0, 2 * Math.PI);
    pen.fill();
  }

  // What lies under the pointer: a cell, or the shown part of a path.
  function under(x, y) {
    const cell = nearest(cells.x, cells.y, x, y);
    const path = nearestPath(x, y);
    marked = null;
    if (path.distance < cell.distance && path.distance <= REACH) {
      marked = path.line;
      return [`path from ${paths.name[path.line]}`, `simulated, ${written(times[path.index])}`];
    }
    return cell.distance <= REACH ? aboutCell(cell.index) : null;
  }

  function nearestPath(x, y) {
    let best = {distance: Infinity};
    for (let line = 0; line < paths.x.length; line++) {
      const shown = [paths.x, paths.y].map((lines) => lines[line].slice(0, +slider.value + 1));
      const found = nearest(...shown, x, y);
      if (found.distance < best.distance) best = {line, ...found};
    }
    return best;
  }

  function nearest(xs, ys, x, y) {
    const best = {index: -1, distance: Infinity};
    for (let i = 0; i < xs.length; i++) {
      const [left, top] = place(xs[i], ys[i]);
      const distance = Math.hypot(left - x, top - y);
      if (distance < best.distance) Object.assign(best, {index: i, distance});
    }
    return best;
  }

  function aboutCell(i) {
    const lines = [cells.name[i], `observed, ${written(scene.observed[cells.time[i]])}`];
    for (const color of colors.slice(1)) {
      const value = color.values[i];
      const text = color.labels ? color.labels[value] : value;
      lines.push(`${color.name}: ${text ?? "none"}`);
    }
    return lines;
  }

  function showTip(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const lines = under(x, y);
    draw();
    tip.hidden = lines === null;
    if (lines === null) return;
    tip.textContent = lines.join("\n");
    // On the side that has room, so that it never leaves the page.
    const isRight = x > canvas.clientWidth / 2;
    tip.style.left = isRight ? "auto" : `${x + 12}px`;
    tip.style.right = isRight ? `${canvas.clientWidth - x + 12}px` : "auto";
    tip.style.top = `${y + 12}px`;
  }

  function explain() {
    const color = colors[choice.value];
    legend.replaceChildren();
    if (!color.labels) {
      const bar = document.createElement("i");
      bar.style.background = `linear-gradient(90deg, ${steps().join(", ")})`;
      const [low, high] = color.range.map((value) => String(+value.toPrecision(3)));
      legend.append(low, bar, `${high} ${color.unit ?? ""}`);
      return;
    }
    color.labels.forEach((label, k) => {
      const entry = document.createElement("span");
      const swatch = document.createElement("b");
      swatch.style.background = color.palette[k];
      entry.append(swatch, label);
      legend.append(entry);
    });
  }

  function play() {
    if (timer !== null) return pause();
    if (+slider.value === times.length - 1) slider.value = 0;
    button.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = +slider.value + 1;
      if (+slider.value === times.length - 1) pause();
      draw();
    }, 80);
    draw();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function redraw() {
    explain();
    draw();
  }

  slider.addEventListener("input", () => (pause(), draw()));
  choice.addEventListener("change", redraw);
  button.addEventListener("click", play);
  canvas.addEventListener("pointermove", showTip);
  canvas.addEventListener("pointerdown", showTip);
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
    marked = null;
    draw();
  });
  addEventListener("resize", draw);
  darkness.addEventListener("change", redraw);
  figure.querySelector(".stage").hidden = false;
  redraw();
}

function timeColors(scene) {
  const {observed, unit} = scene;
  const values = scene.cells.time.map((position) => observed[position]);
  return {name: "time", values, range: [observed[0], observed.at(-1)], unit};
}

// A function from the value of a cell to its colour.
function colorOf(color, steps) {
  const missing = "#b8b8b8";
  if (color.labels) return (value) => color.palette[value] ?? missing;
  const [low, high] = color.range;
  const width = high > low ? high - low : 1;
  return (value) => {
    if (value === null) return missing;
    const share = Math.min(Math.max((value - low) / width, 0), 1);
    return steps[Math.round(share * (steps.length - 1))];
  };
}

document.querySelectorAll("figure.scene").forEach(startScene);
