// A short sound and vibration when a part is taken: off until somebody wants it.

const KEY = "defectvision.teach-signals";

export class Signals {
  #field;
  #sound = null;

  constructor(field) {
    this.#field = field;
    field.checked = read();
    field.addEventListener("change", () => {
      keep(field.checked);
      if (field.checked) this.taken(); // so one hears what it is; a gesture lets browsers sound
    });
  }

  taken() {
    if (!this.#field.checked) return;
    navigator.vibrate?.(60);
    this.#beep();
  }

  #beep() {
    try {
      this.#sound ??= new AudioContext();
      const [tone, volume] = [this.#sound.createOscillator(), this.#sound.createGain()];
      const now = this.#sound.currentTime;
      tone.frequency.value = 880;
      volume.gain.setValueAtTime(0.2, now);
      volume.gain.exponentialRampToValueAtTime(0.001, now + 0.15);
      tone.connect(volume).connect(this.#sound.destination);
      tone.start(now);
      tone.stop(now + 0.16);
    } catch {
      // no sound here: the screen says it too
    }
  }
}

function read() {
  try {
    return localStorage.getItem(KEY) === "yes";
  } catch {
    return false;
  }
}

function keep(wanted) {
  try {
    localStorage.setItem(KEY, wanted ? "yes" : "no");
  } catch {
    // private windows may refuse: it then lasts as long as the page
  }
}
