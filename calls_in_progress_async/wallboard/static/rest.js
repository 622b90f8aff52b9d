// Care for a screen that shows the same page for weeks: controls fade when nobody uses them, and the page wanders a little.

const IDLE = 60_000; // milliseconds
const STEP = 90_000;
const PATH = [[0, 0], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1]]; // in units of --wander

export function rest(root) {
  let timer = 0;
  const wake = () => {
    delete root.dataset.idle;
    clearTimeout(timer);
    timer = setTimeout(() => { root.dataset.idle = ""; }, IDLE);
  };
  for (const name of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(name, wake, { passive: true });
  wake();
  let step = 0;
  setInterval(() => {
    step = (step + 1) % PATH.length;
    root.style.setProperty("--wander-x", PATH[step][0]);
    root.style.setProperty("--wander-y", PATH[step][1]);
  }, STEP);
}
