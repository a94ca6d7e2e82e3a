// Moments of channels, and gates and Fourier nonlinearities of scale · x + shift, each in one pass over the voxels of a group of
// images that have the same scale and shift; see compiled.py.
//
// The channels of a voxel are next to each other in memory.  For gates, these are gates, then the
// parts of the result, each of which is either scalars, to which ELU is applied, or irreps, which the
// sigmoids of gates multiply.
//
// Letters: u voxels, i o channels in and out.  NaN stays NaN: comparisons with it are false.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct Part { int64_t num_copies, dim; };

inline float read(const float* x) { return *x; }
inline void write(float* y, float value) { *y = value; }

// bfloat16 is the upper half of a float32, and is rounded to the nearest, ties to even.
inline float read(const uint16_t* x) {
    uint32_t bits = uint32_t(*x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline void write(uint16_t* y, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    *y = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2.  A loop over it becomes vector instructions, unlike one
// over the library's function.  Its relative error is 2e-7.
inline float calc_exp(float x) {
    x = x < -87.f ? -87.f : x;
    x = x > 88.f ? 88.f : x;
    const float shifter = 12582912.f;  // 1.5 · 2^23, which rounds to whole numbers
    float n = (x * 1.44269504f + shifter) - shifter;
    float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = 1.f / 720;
    p = p * r + 1.f / 120;
    p = p * r + 1.f / 24;
    p = p * r + 1.f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.f;
    p = p * r + 1.f;
    int32_t bits = (int32_t(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

inline float calc_sigmoid(float x) { return 1.f / (1.f + calc_exp(-x)); }

const int64_t BLOCK = 256;  // voxels whose sums are in float32

template <typename T>
void add_moments(const T* x, double* sums, double* square_sums, int64_t num_voxels,
                 int64_t num_channels) {
    std::vector<float> block(2 * num_channels);
    float *first = block.data(), *second = first + num_channels;
    for (int64_t start = 0; start < num_voxels; start += BLOCK) {
        int64_t stop = start + BLOCK < num_voxels ? start + BLOCK : num_voxels;
        for (int64_t u = start; u < stop; u++, x += num_channels)
            for (int64_t i = 0; i < num_channels; i++) {
                float value = read(x + i);
                first[i] += value;
                second[i] += value * value;
            }
        for (int64_t i = 0; i < num_channels; i++) {
            sums[i] += first[i];
            square_sums[i] += second[i];
            first[i] = second[i] = 0;
        }
    }
}

struct Layout {
    int64_t num_in, num_out, num_gates;
    std::vector<Part> parts;
    std::vector<int32_t> gates;  // of each channel of the result; unused for scalars

    Layout(const int64_t* counts, int64_t num_parts) : num_out(0), num_gates(0) {
        for (int64_t k = 0; k < num_parts; k++) {
            Part part{counts[2 * k], counts[2 * k + 1]};
            parts.push_back(part);
            for (int64_t copy = 0; copy < part.num_copies; copy++) {
                gates.insert(gates.end(), part.dim, part.dim > 1 ? int32_t(num_gates) : 0);
                num_gates += part.dim > 1;
            }
            num_out += part.num_copies * part.dim;
        }
        num_in = num_gates + num_out;
    }
};

template <typename T>
void apply(const T* x, const float* scale, const float* shift, T* y, int64_t num_voxels,
           const Layout& layout) {
    std::vector<float> features(layout.num_in), factors(layout.num_gates);
    const int32_t* gates = layout.gates.data();
    for (int64_t u = 0; u < num_voxels; u++, x += layout.num_in, y += layout.num_out) {
        for (int64_t i = 0; i < layout.num_in; i++)
            features[i] = read(x + i) * scale[i] + shift[i];
        for (int64_t k = 0; k < layout.num_gates; k++) factors[k] = calc_sigmoid(features[k]);
        const float* f = features.data() + layout.num_gates;
        int64_t o = 0;
        for (const Part& part : layout.parts) {
            int64_t end = o + part.num_copies * part.dim;
            if (part.dim == 1)
                for (; o < end; o++) write(y + o, f[o] > 0 ? f[o] : calc_exp(f[o]) - 1);
            else
                for (; o < end; o++) write(y + o, f[o] * factors[gates[o]]);
        }
    }
}

template <typename T>
void backpropagate(const T* x, const float* scale, const float* shift, const T* grad_y, T* grad_x,
                   double* grad_scale, double* grad_shift, int64_t num_voxels,
                   const Layout& layout) {
    const int64_t num_in = layout.num_in, num_gates = layout.num_gates;
    std::vector<float> inputs(num_in), features(num_in), grads(num_in), factors(num_gates),
        products(layout.num_out), scale_sums(num_in), shift_sums(num_in);
    const int32_t* gates = layout.gates.data();
    for (int64_t start = 0; start < num_voxels; start += BLOCK) {
        int64_t stop = start + BLOCK < num_voxels ? start + BLOCK : num_voxels;
        for (int64_t u = start; u < stop; u++, x += num_in, grad_x += num_in) {
            for (int64_t i = 0; i < num_in; i++) inputs[i] = read(x + i);
            for (int64_t i = 0; i < num_in; i++) features[i] = inputs[i] * scale[i] + shift[i];
            for (int64_t k = 0; k < num_gates; k++) factors[k] = calc_sigmoid(features[k]);
            const float* f = features.data() + num_gates;
            float* grad = grads.data() + num_gates;
            int64_t o = 0, k = 0;
            for (const Part& part : layout.parts) {
                int64_t begin = o, end = o + part.num_copies * part.dim;
                if (part.dim == 1) {
                    for (; o < end; o++)
                        grad[o] = read(grad_y + o) * (f[o] > 0 ? 1.f : calc_exp(f[o]));
                    continue;
                }
                for (; o < end; o++) {
                    float g = read(grad_y + o);
                    grad[o] = g * factors[gates[o]];
                    products[o] = g * f[o];
                }
                for (int64_t first = begin; first < end; first += part.dim, k++) {
                    float sum = 0;
                    for (int64_t m = 0; m < part.dim; m++) sum += products[first + m];
                    grads[k] = sum * factors[k] * (1 - factors[k]);
                }
            }
            for (int64_t i = 0; i < num_in; i++) {
                scale_sums[i] += grads[i] * inputs[i];
                shift_sums[i] += grads[i];
                write(grad_x + i, grads[i] * scale[i]);
            }
            grad_y += layout.num_out;
        }
        for (int64_t i = 0; i < num_in; i++) {
            grad_scale[i] += scale_sums[i];
            grad_shift[i] += shift_sums[i];
            scale_sums[i] = shift_sums[i] = 0;
        }
    }
}

// Numbers of as many voxels, calculated with at once.
typedef float Lanes __attribute__((vector_size(64)));
const int64_t NUM_LANES = sizeof(Lanes) / sizeof(float);

template <int64_t N>
inline void multiply_columns(const float* weights, const Lanes* x, Lanes* y, int64_t num_rows,
                             int64_t num_columns) {
    Lanes sums[N] = {};
    for (int64_t k = 0; k < num_rows; k++)
        for (int64_t n = 0; n < N; n++) sums[n] += weights[k * num_columns + n] * x[k];
    for (int64_t n = 0; n < N; n++) y[n] = sums[n];
}

// y = weightsᵀ x, a few rows of y at a time, which registers hold.
void multiply(const float* weights, const Lanes* x, Lanes* y, int64_t num_rows,
              int64_t num_columns) {
    int64_t m = 0;
    for (; m + 8 <= num_columns; m += 8)
        multiply_columns<8>(weights + m, x, y + m, num_rows, num_columns);
    for (; m + 2 <= num_columns; m += 2)
        multiply_columns<2>(weights + m, x, y + m, num_rows, num_columns);
    for (; m < num_columns; m++)
        multiply_columns<1>(weights + m, x, y + m, num_rows, num_columns);
}

// Fourier fields of `dim` components each, which a grid of points represents.
struct Grid {
    int64_t num_fields, dim, num_points;
    const float *synthesis, *analysis;            // [dim, points], [points, dim]
    const float *analysis_rows, *synthesis_rows;  // transposed
};

// Read a field of some voxels; lanes beyond them are zero.
template <typename T>
void read_field(const T* x, Lanes* field, int64_t num_voxels, int64_t num_channels, int64_t dim) {
    float* values = reinterpret_cast<float*>(field);
    for (int64_t i = 0; i < dim * NUM_LANES; i++) values[i] = 0;
    for (int64_t u = 0; u < num_voxels; u++)
        for (int64_t i = 0; i < dim; i++) values[i * NUM_LANES + u] = read(x + u * num_channels + i);
}

template <typename T>
void write_field(const Lanes* field, T* y, int64_t num_voxels, int64_t num_channels, int64_t dim) {
    const float* values = reinterpret_cast<const float*>(field);
    for (int64_t u = 0; u < num_voxels; u++)
        for (int64_t i = 0; i < dim; i++) write(y + u * num_channels + i, values[i * NUM_LANES + u]);
}

template <typename T>
void apply_fourier(const T* x, const float* scale, const float* shift, T* y, int64_t num_voxels,
                   const Grid& grid) {
    const int64_t dim = grid.dim, num_channels = grid.num_fields * dim;
    std::vector<Lanes> features(dim), values(grid.num_points);
    float* v = reinterpret_cast<float*>(values.data());
    for (int64_t start = 0; start < num_voxels; start += NUM_LANES) {
        int64_t count = num_voxels - start < NUM_LANES ? num_voxels - start : NUM_LANES;
        for (int64_t c = 0; c < num_channels; c += dim) {
            int64_t at = start * num_channels + c;
            read_field(x + at, features.data(), count, num_channels, dim);
            for (int64_t i = 0; i < dim; i++)
                features[i] = features[i] * scale[c + i] + shift[c + i];
            multiply(grid.synthesis, features.data(), values.data(), dim, grid.num_points);
            for (int64_t i = 0; i < grid.num_points * NUM_LANES; i++)
                v[i] = v[i] > 0 ? v[i] : calc_exp(v[i]) - 1;
            multiply(grid.analysis, values.data(), features.data(), grid.num_points, dim);
            write_field(features.data(), y + at, count, num_channels, dim);
        }
    }
}

template <typename T>
void backpropagate_fourier(const T* x, const float* scale, const float* shift, const T* grad_y,
                           T* grad_x, double* grad_scale, double* grad_shift, int64_t num_voxels,
                           const Grid& grid) {
    const int64_t dim = grid.dim, num_channels = grid.num_fields * dim;
    std::vector<Lanes> inputs(dim), features(dim), grads(dim), values(grid.num_points),
        grad_values(grid.num_points);
    const float* v = reinterpret_cast<const float*>(values.data());
    float* g = reinterpret_cast<float*>(grad_values.data());
    for (int64_t start = 0; start < num_voxels; start += NUM_LANES) {
        int64_t count = num_voxels - start < NUM_LANES ? num_voxels - start : NUM_LANES;
        for (int64_t c = 0; c < num_channels; c += dim) {
            int64_t at = start * num_channels + c;
            read_field(x + at, inputs.data(), count, num_channels, dim);
            read_field(grad_y + at, grads.data(), count, num_channels, dim);
            for (int64_t i = 0; i < dim; i++)
                features[i] = inputs[i] * scale[c + i] + shift[c + i];
            multiply(grid.synthesis, features.data(), values.data(), dim, grid.num_points);
            multiply(grid.analysis_rows, grads.data(), grad_values.data(), dim, grid.num_points);
            for (int64_t i = 0; i < grid.num_points * NUM_LANES; i++)
                g[i] *= v[i] > 0 ? 1.f : calc_exp(v[i]);
            multiply(grid.synthesis_rows, grad_values.data(), grads.data(), grid.num_points, dim);
            for (int64_t i = 0; i < dim; i++) {
                float scale_sum = 0, shift_sum = 0;
                for (int64_t u = 0; u < NUM_LANES; u++) {
                    scale_sum += grads[i][u] * inputs[i][u];
                    shift_sum += grads[i][u];
                }
                grad_scale[c + i] += scale_sum;
                grad_shift[c + i] += shift_sum;
                grads[i] *= scale[c + i];
            }
            write_field(grads.data(), grad_x + at, count, num_channels, dim);
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                           \
    void add_moments_##NAME(const T* x, double* sums, double* square_sums, int64_t num_voxels,     \
                            int64_t num_channels) {                                               \
        add_moments(x, sums, square_sums, num_voxels, num_channels);                              \
    }                                                                                             \
    void apply_##NAME(const T* x, const float* scale, const float* shift, T* y,                   \
                      int64_t num_voxels, const int64_t* parts, int64_t num_parts) {              \
        apply(x, scale, shift, y, num_voxels, Layout(parts, num_parts));                          \
    }                                                                                             \
    void backpropagate_##NAME(const T* x, const float* scale, const float* shift,                 \
                              const T* grad_y, T* grad_x, double* grad_scale, double* grad_shift, \
                              int64_t num_voxels, const int64_t* parts, int64_t num_parts) {      \
        backpropagate(x, scale, shift, grad_y, grad_x, grad_scale, grad_shift, num_voxels,        \
                      Layout(parts, num_parts));                                                  \
    }                                                                                             \
    void apply_fourier_##NAME(const T* x, const float* scale, const float* shift, T* y,           \
                              int64_t num_voxels, const Grid* grid) {                             \
        apply_fourier(x, scale, shift, y, num_voxels, *grid);                                     \
    }                                                                                             \
    void backpropagate_fourier_##NAME(const T* x, const float* scale, const float* shift,         \
                                      const T* grad_y, T* grad_x, double* grad_scale,             \
                                      double* grad_shift, int64_t num_voxels, const Grid* grid) { \
        backpropagate_fourier(x, scale, shift, grad_y, grad_x, grad_scale, grad_shift,            \
                              num_voxels, *grid);                                                 \
    }

extern "C" {
EXPORT(float32, float)
EXPORT(bfloat16, uint16_t)
}
