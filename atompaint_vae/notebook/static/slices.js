// Single layers of voxels, drawn on a canvas: what surfaces don't show is within them.
var AtompaintSlices = (() => {
  "use strict";

  const ATOM_RADIUS_A = 0.75;

  function parseColour(colour) {
    return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  }

  // layers: [{values, colour}]; the more of a voxel they fill, the nearer it is to their colour
  function drawSlice(canvas, layers, scene) {
    const { size, axis, index, background, resolution, atoms, boxes, contrast } = scene;
    const [u, v] = [0, 1, 2].filter((x) => x !== axis);
    const [width, height] = [size[u], size[v]];
    const strides = [size[1] * size[2], size[2], 1];
    const ground = parseColour(background);
    const pixels = new ImageData(width, height);
    for (let j = 0; j < height; j++)
      for (let i = 0; i < width; i++) {
        const voxel = index * strides[axis] + i * strides[u] + j * strides[v];
        const rgb = [...ground];
        for (const { values, rgb: colour } of layers) {
          const filled = contrast * Math.max(0, values[voxel]);
          for (let k = 0; k < 3; k++) rgb[k] += filled * (colour[k] - ground[k]);
        }
        pixels.data.set([...rgb, 255], 4 * ((height - 1 - j) * width + i));
      }
    const sheet = new OffscreenCanvas(width, height);
    sheet.getContext("2d").putImageData(pixels, 0, 0);

    const scale = canvas.width / width;
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sheet, 0, 0, canvas.width, canvas.height);

    // A place in Å, from the image's centre, on the canvas.
    const place = (point) => [
      (point[u] / resolution + width / 2) * scale,
      (height / 2 - point[v] / resolution) * scale,
    ];
    const depth = (index - (size[axis] - 1) / 2) * resolution;
    for (const { point, colour } of atoms) {
      if (Math.abs(point[axis] - depth) > ATOM_RADIUS_A) continue;
      pen.beginPath();
      pen.arc(...place(point), Math.max(2, 0.25 * scale / resolution), 0, 2 * Math.PI);
      pen.fillStyle = colour;
      pen.fill();
      pen.strokeStyle = background;
      pen.stroke();
    }
    pen.lineWidth = canvas.width / 150;
    for (const { first, last, colour } of boxes) {
      if (index < first[axis] || index > last[axis]) continue;
      pen.strokeStyle = colour;
      pen.strokeRect(
        first[u] * scale, (height - 1 - last[v]) * scale,
        (last[u] - first[u] + 1) * scale, (last[v] - first[v] + 1) * scale,
      );
    }
  }

  return { drawSlice, parseColour };
})();
