// The model card.

const RUNTIMES = { openvino: "OpenVINO", torch: "PyTorch" };

export class ModelCard {
  #root;
  #warnings = "";

  constructor(root) {
    this.#root = root;
  }

  /** Show an answer of /health; `toTeach` says whether the parts that are shown are not those it knows. */
  show(health, toTeach) {
    const { model_category: category, runtime, input_size: size } = health;
    this.#write("model-category", category ?? "none yet");
    this.#write("model-runtime", runtime ? (RUNTIMES[runtime] ?? runtime) : "");
    this.#write("model-size", size ? describeSize(size) : "");
    this.#find("teach-hint").hidden = !toTeach;
    this.#showWarnings(health.warnings ?? []);
  }

  #showWarnings(warnings) {
    const key = warnings.join("\n");
    if (key === this.#warnings) return;
    this.#warnings = key;
    this.#find("warnings").replaceChildren(
      ...warnings.map((warning) => {
        const item = document.createElement("li");
        item.textContent = warning;
        return item;
      }),
    );
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }

  #write(id, text) {
    const field = this.#find(id);
    if (field.textContent !== text) field.textContent = text;
  }
}

function describeSize(size) {
  const [height, width] = Array.isArray(size) ? size : [size, size];
  return `${width} × ${height} px`;
}
