// The controls of a view: all of them plain inputs with labels, so that any keyboard reaches them.
var AtompaintControls = (() => {
  "use strict";

  const AXES = ["x", "y", "z"];
  let numViews = 0;

  function makeNode(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {}))
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // view: the state that the controls change, and draw() to show it
  function make(view) {
    const { state } = view;
    const prefix = `reconstruction-${++numViews}`;
    let crop = null;

    const label = (text, input, ...rest) =>
      makeNode("label", { className: "reconstruction-control" }, text, input, ...rest);

    const group = (name, ...nodes) =>
      makeNode("span", { className: "reconstruction-group", role: "group", ariaLabel: name }, ...nodes);
    const makeRow = (...nodes) => makeNode("div", { className: "reconstruction-row" }, ...nodes);

    function makeCheckbox(text, key) {
      const input = makeNode("input", { type: "checkbox", checked: state[key] });
      input.addEventListener("change", () => {
        state[key] = input.checked;
        update();
        view.draw();
      });
      const node = makeNode("label", { className: "reconstruction-control" }, input, text);
      return { node, input };
    }

    function makeButton(text, act) {
      const button = makeNode("button", { type: "button", textContent: text });
      button.addEventListener("click", act);
      return button;
    }

    function makeChoice(name, choices, chosen, choose) {
      return choices.map((text, i) => {
        const input = makeNode("input", { type: "radio", name: `${prefix}-${name}`, checked: i === chosen });
        input.addEventListener("change", () => choose(i));
        return makeNode("label", { className: "reconstruction-control" }, input, text);
      });
    }

    function makeSlider(name, read) {
      const input = makeNode("input", { type: "range" });
      const output = makeNode("output");
      input.addEventListener("input", () => {
        read(Number(input.value));
        update();
        view.draw();
      });
      return { input, output, node: label(name, input, output) };
    }

    const crops = makeNode("select");
    view.view.crops.forEach((x) => crops.append(makeNode("option", { textContent: x.label })));
    crops.addEventListener("change", async () => {
      status.textContent = "Loading …";
      try {
        await view.choose(crops.selectedIndex);
      } catch (error) {
        status.textContent = `Not shown: ${error.message}`;
      }
    });

    const modes = makeChoice("mode", ["Surfaces", "Slices"], 0, (i) => {
      state.slices = i === 1;
      update();
      view.draw();
    });
    const axes = makeChoice("axis", AXES, state.axis, (i) => {
      state.axis = i;
      state.index = Math.floor(crop.size[i] / 2);
      update();
      view.draw();
    });
    const residual = makeCheckbox("Residual", "residual");
    const atoms = makeCheckbox("Atoms", "atoms");
    const isovalue = makeSlider("Isovalue", (value) => (state.isovalue = value));
    const position = makeSlider("Position", (value) => (state.index = value));
    position.input.step = 1;
    const reset = makeButton("Reset camera", () => view.resetCamera());
    const close = makeButton("Close", () => view.close());
    close.className = "reconstruction-close";
    const channels = group("Channels");
    residual.node.hidden = !view.view.residualColours;
    const axisGroup = group("Axis across the slices", "Across", ...axes);
    const legend = makeNode("span", { className: "reconstruction-group" });
    view.view.residualColours?.forEach((colour, i) => legend.append(makeSwatch(colour), ["missing", "too much"][i]));
    const blocks = makeNode("p", { className: "reconstruction-blocks" });
    const status = makeNode("p", { className: "reconstruction-hint", role: "status" });

    function makeSwatch(colour) {
      const swatch = makeNode("span", { className: "reconstruction-swatch", ariaHidden: "true" });
      swatch.style.background = colour;
      return swatch;
    }

    function fillChannels() {
      channels.replaceChildren(
        ...crop.channels.map((name) => {
          const input = makeNode("input", { type: "checkbox", checked: state.shown.has(name) });
          input.addEventListener("change", () => {
            if (input.checked) state.shown.add(name);
            else state.shown.delete(name);
            view.draw();
          });
          const swatch = makeSwatch("");
          const [light, dark] = view.view.colours[name];
          swatch.style.setProperty("--light", light);
          swatch.style.setProperty("--dark", dark);
          return makeNode("label", { className: "reconstruction-control" }, input, swatch, name);
        }),
      );
    }

    function fillBlocks() {
      blocks.hidden = !crop.blocks;
      if (!crop.blocks) return;
      if (!crop.blocks.length) {
        blocks.textContent = "No solid blocks: the reconstruction fills no region that is empty in the input.";
        return;
      }
      blocks.replaceChildren(
        "Solid blocks, absent from the input: ",
        ...crop.blocks.map((block, i) =>
          makeButton(
            `${i + 1}: ${Math.round(block.volume_A3)} Å³, mostly ${block.channel}, ${Math.round(100 * block.mean_filled)} % filled`,
            () => view.lookAt(block),
          ),
        ),
      );
    }

    function describeSlice() {
      const offset = (state.index - (crop.size[state.axis] - 1) / 2) * crop.resolution_A;
      return `${AXES[state.axis]} = ${offset.toFixed(1).replace("-", "−")} Å`;
    }

    // The controls say what the state is, and only those that matter are there.
    function update() {
      isovalue.input.value = state.isovalue;
      isovalue.output.textContent = state.isovalue.toFixed(Math.max(0, -Math.round(Math.log10(crop.isovalueStep))));
      position.input.max = crop.size[state.axis] - 1;
      position.input.value = state.index;
      position.output.textContent = describeSlice();
      isovalue.node.hidden = reset.hidden = state.slices;
      axisGroup.hidden = position.node.hidden = !state.slices;
      legend.hidden = !state.residual;
    }

    function describe(listed, loaded) {
      crop = loaded;
      crops.selectedIndex = view.view.crops.indexOf(listed);
      const step = crop.isovalueStep;
      const max = Math.floor(crop.maximum / step) * step;
      Object.assign(isovalue.input, { min: 2 * step, max: max.toFixed(6), step });
      atoms.node.hidden = !view.view.residualColours;
      atoms.input.disabled = !crop.atoms;
      atoms.node.title = crop.atoms ? "" : "The run stored no atoms";
      fillChannels();
      fillBlocks();
      update();
      status.textContent =
        "Click a panel: then drag, or the arrow keys, rotate; scrolling, or + and −, zoom. " +
        `Densities are filled fractions, rounded to ${listed.precision}.`;
    }

    return {
      top: makeNode(
        "div", { className: "reconstruction-controls" },
        makeRow(label(view.view.choice, crops), group("Shown as", ...modes), close),
        makeRow(channels, atoms.node),
        makeRow(isovalue.node, axisGroup, position.node, residual.node, legend, reset),
      ),
      bottom: makeNode("div", {}, blocks, status),
      describe, describeSlice, update,
      focus: () => crops.focus({ preventScroll: true }),
    };
  }

  return { make, makeNode };
})();
