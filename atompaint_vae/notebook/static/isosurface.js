// Isosurfaces by naive surface nets (Gibson 1998): one vertex in each cell that the surface
// crosses, at the mean of where it crosses the cell's edges. 3Dmol.js has isosurfaces, too, but
// only tells voxels inside from voxels outside, so that a slider would move them in jumps.
var AtompaintIsosurface = (() => {
  "use strict";

  // values: Float32Array, z fastest; size: [x, y, z]; unit: length of a voxel's side
  // returns: vertices and normals as {x, y, z} with the image's centre as origin, triangles' corners
  // The image is taken to be zero beyond its border, so that surfaces are closed.
  function make(values, size, unit, isovalue) {
    const [nx, ny, nz] = size.map((n) => n + 2);
    const strides = [ny * nz, nz, 1];
    const padded = new Float32Array(nx * ny * nz);
    for (let x = 0, i = 0; x < size[0]; x++)
      for (let y = 0; y < size[1]; y++) {
        const row = (x + 1) * strides[0] + (y + 1) * nz + 1;
        for (let z = 0; z < size[2]; z++) padded[row + z] = values[i++];
      }

    const corners = [];
    for (let c = 0; c < 8; c++) {
      const at = [c >> 2, (c >> 1) & 1, c & 1];
      corners.push({ at, offset: at.reduce((sum, bit, axis) => sum + bit * strides[axis], 0) });
    }
    const edges = [];
    for (let a = 0; a < 8; a++)
      for (const bit of [1, 2, 4]) if (!(a & bit)) edges.push([a, a | bit]);

    const center = size.map((n) => (n + 1) / 2);
    const vertexOfCell = new Int32Array(padded.length).fill(-1);
    const vertexArr = [], normalArr = [], faceArr = [];
    const at = new Float32Array(8);

    function addVertex(cell, place) {
      const sum = [0, 0, 0];
      let crossings = 0;
      for (const [a, b] of edges) {
        if (at[a] > isovalue === at[b] > isovalue) continue;
        const t = (isovalue - at[a]) / (at[b] - at[a]);
        for (let axis = 0; axis < 3; axis++) {
          const from = corners[a].at[axis];
          sum[axis] += from + t * (corners[b].at[axis] - from);
        }
        crossings++;
      }
      const normal = [0, 0, 0];
      for (let c = 0; c < 8; c++)
        for (let axis = 0; axis < 3; axis++) normal[axis] -= at[c] * (2 * corners[c].at[axis] - 1);
      const length = Math.hypot(...normal) || 1;
      const [x, y, z] = place.map((p, axis) => unit * (p + sum[axis] / crossings - center[axis]));
      vertexOfCell[cell] = vertexArr.length;
      vertexArr.push({ x, y, z });
      normalArr.push({ x: normal[0] / length, y: normal[1] / length, z: normal[2] / length });
    }

    for (let x = 0; x < nx - 1; x++)
      for (let y = 0; y < ny - 1; y++)
        for (let z = 0; z < nz - 1; z++) {
          const cell = x * strides[0] + y * nz + z;
          let inside = 0;
          for (let c = 0; c < 8; c++) {
            at[c] = padded[cell + corners[c].offset];
            inside += at[c] > isovalue;
          }
          if (inside === 0 || inside === 8) continue;
          addVertex(cell, [x, y, z]);

          // Each edge that leaves the cell's first corner is shared with three cells before it.
          for (let axis = 0; axis < 3; axis++) {
            const [u, v] = [strides[(axis + 1) % 3], strides[(axis + 2) % 3]];
            const isInside = at[0] > isovalue;
            if (isInside === at[4 >> axis] > isovalue) continue;
            const quad = [cell, cell - u, cell - u - v, cell - v].map((c) => vertexOfCell[c]);
            const [a, b, c, d] = isInside ? quad : quad.reverse();
            faceArr.push(a, b, c, a, c, d);
          }
        }
    return { vertexArr, normalArr, faceArr };
  }

  return { make };
})();
