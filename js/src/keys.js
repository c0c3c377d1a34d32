// Every key of the annotator in one table: what runs, and what the help of `?` shows.

/** @typedef {{keys: string[], shown: string, does: string, part: string, run: (app: object) => void}} Key */

/** @type {Key[]} */
export const KEYS = [
  { part: "Verdicts", keys: ["a"], shown: "A", does: "accept the mask and go to the next one to review", run: (app) => app.actions.verdict("accept") },
  { part: "Verdicts", keys: ["r", "x", "delete"], shown: "R or X", does: "reject the mask and go to the next one to review", run: (app) => app.actions.verdict("reject") },
  { part: "Verdicts", keys: ["u"], shown: "U", does: "take the verdict back", run: (app) => app.actions.verdict("none") },
  { part: "Verdicts", keys: ["shift+a"], shown: "Shift+A", does: "accept all that are not rejected", run: (app) => app.actions.acceptAll() },
  { part: "Moving", keys: ["n", "arrowright"], shown: "N or →", does: "next mask to review", run: (app) => app.actions.step(1) },
  { part: "Moving", keys: ["p", "arrowleft"], shown: "P or ←", does: "previous mask to review", run: (app) => app.actions.step(-1) },
  { part: "Moving", keys: ["arrowdown", "j"], shown: "↓ or J", does: "next mask of the list", run: (app) => app.actions.stepList(1) },
  { part: "Moving", keys: ["arrowup"], shown: "↑", does: "mask before it in the list", run: (app) => app.actions.stepList(-1) },
  { part: "Image", keys: ["enter"], shown: "Enter", does: "save the drawing; without one, complete the image", run: (app) => app.actions.enter() },
  { part: "Image", keys: ["k"], shown: "K", does: "skip the image, with a reason", run: (app) => app.actions.skip() },
  { part: "Image", keys: [".", "pagedown"], shown: ". or Page Down", does: "open the next image; this one stays as it is", run: (app) => app.actions.open("next") },
  { part: "Image", keys: [",", "pageup"], shown: ", or Page Up", does: "open the image before", run: (app) => app.actions.open("previous") },
  { part: "Drawing", keys: ["c"], shown: "C", does: "clicks: left inside, right or Alt outside; drag a box", run: (app) => app.use("click") },
  { part: "Drawing", keys: ["o"], shown: "O", does: "box around an object", run: (app) => app.use("box") },
  { part: "Drawing", keys: ["g"], shown: "G", does: "polygon; Alt on the last click takes it away", run: (app) => app.use("polygon") },
  { part: "Drawing", keys: ["b"], shown: "B", does: "brush; right button erases", run: (app) => app.use("brush") },
  { part: "Drawing", keys: ["e"], shown: "E", does: "edit the chosen mask; while drawing, the eraser", run: (app) => app.actions.edit() },
  { part: "Drawing", keys: ["shift+r"], shown: "Shift+R", does: "reject the mask and draw it anew in its place", run: (app) => app.actions.redraw() },
  { part: "Drawing", keys: ["["], shown: "[ and ]", does: "smaller and larger brush", run: (app) => app.resizeBrush(1 / 1.25) },
  { part: "Drawing", keys: ["]"], shown: "", does: "", run: (app) => app.resizeBrush(1.25) },
  { part: "Drawing", keys: ["v"], shown: "V", does: "choose masks; drag to move the image", run: (app) => app.use("select") },
  { part: "Drawing", keys: ["escape"], shown: "Esc", does: "drop the open polygon, then the drawing, then the choice", run: (app) => app.actions.escape() },
  { part: "Undo", keys: ["ctrl+z"], shown: "Ctrl+Z", does: "undo the last stroke or gesture", run: (app) => app.actions.undo() },
  { part: "Undo", keys: ["ctrl+shift+z", "ctrl+y"], shown: "Ctrl+Shift+Z", does: "do it again", run: (app) => app.actions.redo() },
  { part: "Undo", keys: ["backspace"], shown: "Backspace", does: "while drawing, the last stroke or corner", run: (app) => app.draft && app.drafting.undo() },
  { part: "View", keys: ["f"], shown: "F", does: "whole image", run: (app) => app.stage.fit() },
  { part: "View", keys: ["shift+f"], shown: "Shift+F", does: "100 %, one image pixel a screen pixel", run: (app) => app.actions.fullSize() },
  { part: "View", keys: ["z"], shown: "Z", does: "zoom to the chosen mask", run: (app) => app.actions.zoomTo() },
  { part: "View", keys: ["+", "="], shown: "+ and −, wheel", does: "zoom; drag with Space or the middle button to move", run: (app) => app.stage.zoom(1.25) },
  { part: "View", keys: ["-", "_"], shown: "", does: "", run: (app) => app.stage.zoom(0.8) },
  { part: "View", keys: ["h"], shown: "H", does: "hide or show all masks", run: (app) => app.actions.hideAll() },
  { part: "View", keys: ["t"], shown: "T", does: "fills on or off", run: (app) => app.actions.toggleFills() },
  { part: "View", keys: ["d"], shown: "D", does: "discarded masks on or off", run: (app) => app.actions.toggleGroup("discarded") },
  { part: "View", keys: ["?"], shown: "?", does: "this help", run: (app) => app.dialogs.help() },
];

const TABLE = new Map(KEYS.flatMap((key) => key.keys.map((name) => [name, key])));

/** The name of a key event in the table: modifiers, then the key in small letters. @param {KeyboardEvent} event */
export function nameOf(event) {
  const key = event.key.toLowerCase();
  const shifted = event.shiftKey && (/^[a-z]$/.test(key) || key.length > 1); // "?" and "+" are typed with Shift
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${shifted ? "shift+" : ""}${key}`;
}

/** @returns {Key|undefined} */
export function keyFor(event) {
  return event.altKey && event.key.length > 1 ? undefined : TABLE.get(nameOf(event));
}

/** Whether a label may use a key. */
export const isFree = (key) => !TABLE.has(String(key).toLowerCase());

const typing = (target) => target instanceof Element && target.matches("input:not([type=checkbox]):not([type=range]), textarea");

/**
 * Handle the keys of the widget. None reaches the notebook: JupyterLab would insert cells on "b".
 * @param {HTMLElement} root @param {object} app @param {AbortSignal} signal
 */
export function listen(root, app, signal) {
  const on = (name, call) => root.addEventListener(name, call, { signal });
  on("keydown", (event) => {
    event.stopPropagation();
    app.clock.touch();
    if (event.isComposing) return;
    if (app.dialogs.open) return app.dialogs.key(event);
    if (typing(event.target)) {
      if (event.key === "Escape") app.focus();
      return;
    }
    if (event.key === " " && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault();
      app.setSpace(true);
      return;
    }
    pressed(event, app);
  });
  on("keyup", (event) => {
    event.stopPropagation();
    if (event.key === " ") app.setSpace(false);
  });
  on("keypress", (event) => event.stopPropagation());
}

function pressed(event, app) {
  const onControl = event.target instanceof Element && event.target.matches("button, select, input, [role=option]");
  if (onControl && ["Enter", " ", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const name = nameOf(event);
  const label = app.session.view.labels.find((l) => String(l.key).toLowerCase() === name && isFree(l.key));
  const key = keyFor(event);
  if (name === "ctrl+s") {
    event.preventDefault();
    app.say("Everything is saved already: each gesture is, at once.");
  } else if (label || key) {
    event.preventDefault();
    if (label) app.actions.label(label.name);
    else if (app.session.view.image || name === "?") key.run(app);
  }
}
