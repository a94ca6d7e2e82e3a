// The view of a div.reconstruction: one image or two, side by side, as surfaces or slices.
var AtompaintViewer = (() => {
  "use strict";

  const BLOCK_COLOUR = "#d55e00";
  const FIELD_OF_VIEW_RAD = (20 * Math.PI) / 180; // 3Dmol's, and so is the distance
  const CAMERA_DISTANCE_A = 150;
  const LOOK_RADIUS_A = 10;
  const SLICE_PIXELS = 700;
  const LEAST_MAXIMUM = 0.01; // of an empty image
  const { makeNode } = AtompaintControls;
  const KEYS = {
    ArrowLeft: (viewer) => viewer.rotate(-10, "vy"),
    ArrowRight: (viewer) => viewer.rotate(10, "vy"),
    ArrowUp: (viewer) => viewer.rotate(-10, "vx"),
    ArrowDown: (viewer) => viewer.rotate(10, "vx"),
    "+": (viewer) => viewer.zoom(1.15),
    "=": (viewer) => viewer.zoom(1.15),
    "-": (viewer) => viewer.zoom(1 / 1.15),
  };

  async function inflate(text, Type) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Type(await new Response(stream).arrayBuffer());
  }

  // A crop's images, as densities of channels, its atoms and its blocks, as numbers.
  async function unpack(packed) {
    const { size, step, resolution_A, channels, atoms } = packed;
    const numVoxels = size[0] * size[1] * size[2];
    const unpackImage = async ({ data, offset }) => {
      const values = Float32Array.from(await inflate(data, Int8Array), (x) => x * step + offset);
      return channels.map((_, c) => values.subarray(c * numVoxels, (c + 1) * numVoxels));
    };
    const images = await Promise.all(packed.images.map(unpackImage));
    const crop = { ...packed, images, atoms: null };
    if (atoms) {
      const coords = await inflate(atoms.coords, Int16Array);
      const indices = await inflate(atoms.channels, Uint8Array);
      crop.atoms = Array.from(indices, (channel, i) => ({
        channel: channels[channel],
        point: Array.from(coords.subarray(3 * i, 3 * i + 3), (x) => x * atoms.step_A),
      }));
    }
    crop.halfSide_A = (Math.max(...size) * resolution_A) / 2;
    crop.maximum = images.flat().reduce((sum, x) => x.reduce((a, b) => Math.max(a, b), sum), LEAST_MAXIMUM);
    return crop;
  }

  function sumResiduals(crop, shown) {
    const [input, output] = crop.images;
    const sum = new Float32Array(input[0].length);
    crop.channels.forEach((name, c) => {
      if (!shown.has(name)) return;
      for (let i = 0; i < sum.length; i++) sum[i] += output[c][i] - input[c][i];
    });
    return sum;
  }

  function isDark() {
    return getComputedStyle(document.body).colorScheme === "dark";
  }

  class View {
    constructor(box, view, loadCrop) {
      Object.assign(this, { box, view, loadCrop });
      this.state = { isovalue: null, residual: false, atoms: true, slices: false, axis: 2, index: 0 };
      this.panels = view.panels.map((title) => this.makePanel(title));
      this.controls = AtompaintControls.make(this);
      this.node = makeNode(
        "div",
        { className: "reconstruction-view", role: "group", ariaLabel: view.title },
        this.controls.top,
        makeNode("div", { className: "reconstruction-panels" }, ...this.panels.map((x) => x.node)),
        this.controls.bottom,
      );
      const picture = box.querySelector("figure > img, figure > a, figure > .enlarge");
      if (picture) picture.after(this.node);
      else box.append(this.node);
    }

    makePanel(title) {
      const stage = makeNode("div", {
        className: "reconstruction-stage", tabIndex: 0, role: "application",
        ariaLabel: `${title} in 3D: arrow keys rotate, plus and minus zoom, 0 resets`,
      });
      const canvas = makeNode("canvas", { width: SLICE_PIXELS, role: "img" });
      const heading = makeNode("figcaption", {}, title);
      const screen = makeNode("div", { className: "reconstruction-screen" }, stage, canvas);
      const node = makeNode("figure", { className: "reconstruction-panel" }, heading, screen);
      return { title, node, heading, stage, canvas, viewer: null };
    }

    start() {
      for (const panel of this.panels) {
        panel.viewer = $3Dmol.createViewer(panel.stage, { backgroundColor: this.ground });
        if (!panel.viewer) throw new Error("3Dmol.js could not start");
        panel.stage.querySelector("canvas").removeAttribute("id"); // "undefined", in each panel
        // The wheel and fingers scroll the page, until a panel is clicked.
        const focus = () => panel.stage.focus({ preventScroll: true });
        panel.stage.addEventListener("mousedown", focus);
        panel.stage.addEventListener("click", focus);
        const guard = (event) => {
          if (document.activeElement !== panel.stage) event.stopPropagation();
        };
        for (const type of ["wheel", "touchstart", "touchmove"])
          panel.stage.addEventListener(type, guard, { capture: true, passive: true });
        panel.stage.addEventListener("keydown", (event) => {
          if (event.ctrlKey || event.metaKey || event.altKey) return;
          if (event.key === "0") this.resetCamera();
          else if (KEYS[event.key]) KEYS[event.key](panel.viewer);
          else return;
          event.preventDefault();
        });
        new ResizeObserver(() => panel.viewer.resize()).observe(panel.stage);
      }
      const [first, second] = this.panels.map((panel) => panel.viewer);
      if (second) {
        this.linkCamera(first, second);
        this.linkCamera(second, first);
      }
      const redraw = () => this.draw();
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
      new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-theme"] });
    }

    // 3Dmol's linkViewer would draw both whenever one is drawn, whether or not it has moved.
    linkCamera(leader, follower) {
      leader.setViewChangeCallback((place) => {
        if (String(place) !== String(follower.getView())) follower.setView(place);
      });
    }

    get ground() {
      // A canvas knows how to write any colour as #rrggbb.
      const pen = document.createElement("canvas").getContext("2d");
      pen.fillStyle = "#ffffff";
      pen.fillStyle = getComputedStyle(this.box).getPropertyValue("--color-background-primary");
      return pen.fillStyle;
    }

    colourOf(channel) {
      return this.view.colours[channel][isDark() ? 1 : 0];
    }

    async choose(position) {
      this.wanted = position;
      const loaded = await unpack(await this.loadCrop(this.view.crops[position]));
      if (this.wanted !== position) return; // another has been chosen since
      this.crop = loaded;
      const { crop, state } = this;
      state.shown ??= new Set(crop.channels);
      crop.isovalueStep = 10 ** (Math.round(Math.log10(crop.maximum)) - 2);
      state.isovalue ??= Math.round((0.25 * crop.maximum) / crop.isovalueStep) * crop.isovalueStep;
      state.index = Math.floor(crop.size[state.axis] / 2);
      this.controls.describe(this.view.crops[position], crop);
      for (const { viewer } of this.panels) {
        viewer.removeAllModels();
        if (!crop.atoms) continue;
        const model = viewer.addModel();
        model.addAtoms(
          crop.atoms.map(({ channel, point: [x, y, z] }) => ({ elem: channel, x, y, z, channel })),
        );
        model.assignBonds();
      }
      this.resetCamera();
      this.draw();
    }

    resetCamera() {
      const { halfSide_A } = this.crop;
      for (const { viewer } of this.panels) viewer.setSlab(-2 * halfSide_A, 2 * halfSide_A);
      this.pointCamera([0, 0, 0], 1.4 * halfSide_A, [0, 0, 0, 1]);
    }

    // All cameras: they are linked.
    pointCamera(center_A, radius_A, rotation) {
      const distance_A = radius_A / Math.tan(FIELD_OF_VIEW_RAD / 2);
      const place = [...center_A.map((x) => -x), CAMERA_DISTANCE_A - distance_A];
      this.panels[0].viewer.setView([...place, ...rotation]);
    }

    show() {
      this.controls.focus();
    }

    close() {
      this.box.dispatchEvent(new Event("reconstruction-close"));
    }

    lookAt(block) {
      this.state.index = Math.round((block.first[this.state.axis] + block.last[this.state.axis]) / 2);
      this.controls.update();
      const rotation = this.panels[0].viewer.getView().slice(4);
      this.pointCamera(block.center_A, LOOK_RADIUS_A, rotation);
      this.draw();
    }

    // At most once a frame, however fast a slider moves.
    draw() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        const { residual, slices } = this.state;
        this.panels.forEach((panel, k) => {
          const isResidual = k === 1 && residual;
          panel.heading.textContent = isResidual ? "Residual: reconstruction − input" : panel.title;
          panel.node.classList.toggle("reconstruction-sliced", slices);
          if (slices) this.drawSlice(panel, this.listLayers(k));
          else this.drawSurfaces(panel, this.listLayers(k));
        });
      });
    }

    // What a panel shows: densities, each with its colour.
    listLayers(k) {
      const { crop, state } = this;
      if (k === 1 && state.residual) {
        const [missing, tooMuch] = this.view.residualColours;
        const values = sumResiduals(crop, state.shown);
        return [{ values, colour: tooMuch }, { values: values.map((x) => -x), colour: missing }];
      }
      return crop.channels
        .map((name, c) => ({ name, values: crop.images[k][c], colour: this.colourOf(name) }))
        .filter(({ name }) => state.shown.has(name));
    }

    listBlocks(panel) {
      return panel === this.panels[1] ? (this.crop.blocks ?? []) : [];
    }

    drawSurfaces(panel, layers) {
      const { crop, state } = this;
      const { viewer } = panel;
      // Each of these, and render(), draws the panel: no more of them than it needs.
      if (panel.ground !== this.ground) viewer.setBackgroundColor((panel.ground = this.ground));
      if (panel.labels?.length) viewer.removeAllLabels();
      viewer.removeAllShapes();
      const opacity = state.atoms && crop.atoms ? 0.7 : 1;
      for (const { values, colour } of layers) {
        const mesh = AtompaintIsosurface.make(values, crop.size, crop.resolution_A, state.isovalue);
        if (mesh.faceArr.length) viewer.addCustom({ ...mesh, color: colour, opacity });
      }
      const all = crop.size.map((n) => n - 1);
      this.drawFrame(viewer, [0, 0, 0], all, isDark() ? "#666a70" : "#b0b4ba");
      panel.labels = this.listBlocks(panel).map((block, i) => {
        this.drawFrame(viewer, block.first, block.last, BLOCK_COLOUR);
        const [x, y, z] = block.center_A;
        const style = { fontColor: "#ffffff", backgroundColor: BLOCK_COLOUR, fontSize: 12, inFront: true };
        return viewer.addLabel(`${i + 1}`, { position: { x, y, z }, ...style }, null, true);
      });
      const colorfunc = (atom) => this.colourOf(atom.channel);
      viewer.setStyle({}, {});
      if (state.atoms && crop.atoms)
        viewer.setStyle(
          { predicate: (atom) => state.shown.has(atom.channel) },
          { stick: { radius: 0.12, colorfunc }, sphere: { radius: 0.22, colorfunc } },
        );
      viewer.render();
    }

    // The twelve edges of a box of voxels.
    drawFrame(viewer, first, last, color) {
      const { size, resolution_A } = this.crop;
      const edge = (axis, end) =>
        ((end ? last[axis] + 0.5 : first[axis] - 0.5) - (size[axis] - 1) / 2) * resolution_A;
      const corner = (bits) => ({ x: edge(0, bits & 4), y: edge(1, bits & 2), z: edge(2, bits & 1) });
      for (let a = 0; a < 8; a++)
        for (const bit of [1, 2, 4])
          if (!(a & bit)) viewer.addLine({ start: corner(a), end: corner(a | bit), color });
    }

    drawSlice(panel, layers) {
      const { crop, state } = this;
      const atoms = state.atoms && crop.atoms ? crop.atoms : [];
      AtompaintSlices.drawSlice(
        panel.canvas,
        layers.map(({ values, colour }) => ({ values, rgb: AtompaintSlices.parseColour(colour) })),
        {
          size: crop.size, axis: state.axis, index: state.index, resolution: crop.resolution_A,
          background: this.ground, contrast: 1 / crop.maximum,
          atoms: atoms
            .filter(({ channel }) => state.shown.has(channel))
            .map(({ channel, point }) => ({ point, colour: this.colourOf(channel) })),
          boxes: this.listBlocks(panel).map((block) => ({ ...block, colour: BLOCK_COLOUR })),
        },
      );
      panel.canvas.ariaLabel = `${panel.heading.textContent}, ${this.controls.describeSlice()}`;
    }
  }

  async function open(box, view, loadCrop) {
    const opened = new View(box, view, loadCrop);
    try {
      opened.start();
      await opened.choose(0);
    } catch (error) {
      opened.node.remove();
      throw error;
    }
    return opened;
  }

  return { isDark, open, unpack };
})();
