// The annotator as an anywidget module: `render` draws it into an element and returns its clean-up.

import css from "./annotator.css";
import { App } from "./app.js";

/** @param {{model: object, el: HTMLElement}} given */
function render({ model, el }) {
  const app = new App(model, el, css);
  return () => app.stop();
}

export default { render };
