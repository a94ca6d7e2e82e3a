// Overlaps of balls with voxels, added up in images; voxelize.py does the same with tensors, and
// explains the formulas.
//
// All lengths are in voxels.  Atoms are added in their order, so that an image doesn't depend on the
// others of its batch.
//
// Letters: k voxels that an atom can touch along an axis; the first is a number of steps from the
// nearest voxel, away from the atom's centre if it is negative.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

struct Axis {
    int64_t nearest, side;  // voxel, and the direction from its centre to the atom's
    double offset;

    explicit Axis(double position)
        : nearest(int64_t(std::nearbyint(position))), side(position < double(nearest) ? -1 : 1),
          offset(std::abs(position - double(nearest))) {}
};

struct Atom {
    Axis axes[3];

    template <typename T>
    explicit Atom(const T* position)
        : axes{Axis(position[0]), Axis(position[1]), Axis(position[2])} {}

    // Add overlaps [k, k, k] to a channel of an image, where they are inside.
    template <typename T, typename V>
    void add(const V* overlaps, int64_t first, int64_t k, int64_t size, T* channel) const {
        auto find = [&](int64_t i, int64_t step) {
            int64_t voxel = axes[i].nearest + axes[i].side * (first + step);
            return voxel < size ? voxel : -1;
        };
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < k; j++, overlaps += k) {
                int64_t x = find(0, i), y = find(1, j);
                if (x < 0 || y < 0) continue;
                T* row = channel + (x * size + y) * size;
                for (int64_t l = 0; l < k; l++) {
                    int64_t z = find(2, l);
                    if (z >= 0) row[z] += T(overlaps[l]);
                }
            }
    }
};

// Return whether a ball touches voxels of an image; NaN leaves NaN there.
template <typename T>
bool reaches(const T* position, double radius, int64_t size, T* channel) {
    bool is_far = false;
    for (int64_t i = 0; i < 3; i++) {
        if (std::isnan(position[i])) *channel = position[i];
        is_far |= !(std::abs(position[i] - 0.5 * (size - 1)) < 0.5 * size + radius + 1);
    }
    return !is_far;
}

// An atom between eight nodes of a table of overlaps.
template <typename T>
struct Lookup {
    Atom atom;
    T* channel;
    const T* rows[2][2][2];
    T weights[3][2];

    Lookup(const T* position, T* channel, const T* table, int64_t num_nodes, int64_t row_size)
        : atom(position), channel(channel) {
        const int64_t strides[] = {num_nodes * num_nodes, num_nodes, 1};
        int64_t first = 0;
        for (int64_t i = 0; i < 3; i++) {
            T node = T(atom.axes[i].offset) * T(2 * (num_nodes - 1));
            int64_t lower = std::min(int64_t(node), num_nodes - 2);
            weights[i][1] = node - T(lower);
            weights[i][0] = 1 - weights[i][1];
            first += lower * strides[i];
        }
        for (int64_t c = 0; c < 8; c++) {
            int64_t x = c >> 2, y = c >> 1 & 1, z = c & 1;
            int64_t node = first + x * strides[0] + y * strides[1] + z * strides[2];
            rows[x][y][z] = table + node * row_size;
            for (int64_t o = 0; o < row_size; o += 64 / sizeof(T))
                __builtin_prefetch(rows[x][y][z] + o);
        }
    }
};

const int64_t NUM_AHEAD = 8;  // atoms whose rows are on their way from memory

template <typename T>
void look_up(const T* positions, const int64_t* channels, T* image, int64_t num_atoms, int64_t size,
             const T* table, int64_t num_nodes, double radius, int64_t first, int64_t k) {
    const int64_t num_overlaps = k * k * k;
    std::vector<T> overlaps(num_overlaps);
    std::vector<Lookup<T>> ahead;
    for (int64_t start = 0; start < num_atoms; start += NUM_AHEAD) {
        ahead.clear();
        for (int64_t n = start; n < std::min(start + NUM_AHEAD, num_atoms); n++) {
            const T* position = positions + 3 * n;
            T* channel = image + channels[n] * size * size * size;
            if (reaches(position, radius, size, channel))
                ahead.emplace_back(position, channel, table, num_nodes, num_overlaps);
        }
        for (const Lookup<T>& found : ahead) {
            std::fill(overlaps.begin(), overlaps.end(), T(0));
            for (int64_t x = 0; x < 2; x++)
                for (int64_t y = 0; y < 2; y++)
                    for (int64_t z = 0; z < 2; z++) {
                        T weight = found.weights[0][x] * found.weights[1][y] * found.weights[2][z];
                        const T* values = found.rows[x][y][z];
                        for (int64_t o = 0; o < num_overlaps; o++)
                            overlaps[o] += weight * values[o];
                    }
            found.atom.add(overlaps.data(), first, k, size, found.channel);
        }
    }
}

double calc_half_wedge(double a, double b, double r) {
    double height2 = r * r - a * a - b * b;
    if (height2 <= 0) return 0;
    double height = std::sqrt(height2);
    return r * r * r / 3 * std::atan2(r * height, a * b)
        - (a * r * r - a * a * a / 3) / 2 * std::atan2(height, b)
        - (b * r * r - b * b * b / 3) / 2 * std::atan2(height, a) + a * b * height / 3;
}

template <typename T>
void add_balls(const T* positions, const int64_t* channels, T* image, int64_t num_atoms,
               int64_t size, const T* radii) {
    std::vector<double> edges, caps, wedges, corners, overlaps;
    for (int64_t n = 0; n < num_atoms; n++, positions += 3) {
        const double r = radii[n];
        T* channel = image + channels[n] * size * size * size;
        if (!reaches(positions, r, size, channel)) continue;
        const Atom atom(positions);
        const int64_t first = 1 - int64_t(std::ceil(r + 0.5)), k = int64_t(std::ceil(r)) - first + 1;

        const int64_t m = k + 1;  // planes through the cubes' faces, along each axis
        edges.resize(3 * m);
        caps.resize(3 * m);
        for (int64_t i = 0; i < 3 * m; i++) {
            double edge = double(first + i % m) - 0.5 - atom.axes[i / m].offset;
            edges[i] = std::min(std::max(edge, -r), r);
            double a = std::abs(edges[i]);
            caps[i] = M_PI / 12 * (r - a) * (r - a) * (2 * r + a);
        }
        const double *x = edges.data(), *y = x + m, *z = y + m;
        wedges.resize(3 * m * m);
        double *xy = wedges.data(), *xz = xy + m * m, *yz = xz + m * m;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < m; j++) {
                xy[i * m + j] = calc_half_wedge(std::abs(x[i]), std::abs(y[j]), r);
                xz[i * m + j] = calc_half_wedge(std::abs(x[i]), std::abs(z[j]), r);
                yz[i * m + j] = calc_half_wedge(std::abs(y[i]), std::abs(z[j]), r);
            }
        corners.resize(m * m * m);
        for (int64_t i = 0, c = 0; i < m; i++)
            for (int64_t j = 0; j < m; j++)
                for (int64_t l = 0; l < m; l++, c++) {
                    double product = x[i] * y[j] * z[l];  // its sign is that of the volume
                    bool is_in = x[i] * x[i] + y[j] * y[j] + z[l] * z[l] < r * r;
                    double volume = M_PI / 6 * r * r * r - caps[i] - caps[m + j] - caps[2 * m + l]
                        + xy[i * m + j] + xz[i * m + l] + yz[j * m + l];
                    corners[c] = is_in ? product : std::copysign(volume, product);
                }
        overlaps.resize(k * k * k);
        for (int64_t i = 0, o = 0; i < k; i++)
            for (int64_t j = 0; j < k; j++)
                for (int64_t l = 0; l < k; l++, o++) {
                    auto calc_step = [&](int64_t i, int64_t j) {
                        const double* at = &corners[(i * m + j) * m + l];
                        return at[1] - at[0];
                    };
                    overlaps[o] = calc_step(i + 1, j + 1) - calc_step(i + 1, j)
                        - calc_step(i, j + 1) + calc_step(i, j);
                }
        atom.add(overlaps.data(), first, k, size, channel);
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                            \
    void look_up_##NAME(const T* positions, const int64_t* channels, T* image, int64_t num_atoms,   \
                        int64_t size, const T* table, int64_t num_nodes, double radius,            \
                        int64_t first, int64_t k) {                                                \
        look_up(positions, channels, image, num_atoms, size, table, num_nodes, radius, first, k);  \
    }                                                                                              \
    void add_balls_##NAME(const T* positions, const int64_t* channels, T* image,                    \
                          int64_t num_atoms, int64_t size, const T* radii) {                        \
        add_balls(positions, channels, image, num_atoms, size, radii);                             \
    }

extern "C" {
EXPORT(float32, float)
EXPORT(float64, double)
}
