// The memory-bound parts of a training step on the CPU: plain loops over raw pointers, bfloat16 in and out, float32
// inside. No header of torch, so that a build takes seconds.
//
// Deterministic: what a thread sums does not depend on how many threads there are. No -ffast-math: a NaN must stay
// one, and the library must not change how the process treats denormal numbers. Loops that are to be vectorized say
// so (omp simd); `restrict` is a promise of the callers in native.py, which hand over tensors that share no memory
// unless a comment says so.
//
// Shapes: N rows, D width, V vocabulary, T tokens of a row of training, S lines of a block, H heads, Q queries,
// K keys, L places of a line.

#include <cmath>
#include <cstdint>
#include <cstring>

using i64 = int64_t;
using bf16 = uint16_t;
#define restrict __restrict__

namespace {

inline float wide(bf16 x) {
    uint32_t bits = static_cast<uint32_t>(x) << 16;
    float out;
    std::memcpy(&out, &bits, 4);
    return out;
}

// To the nearest, ties to even. A NaN stays one if its lower half is not near its end: so are those that come from
// bfloat16 and those that the processor makes.
inline bf16 narrow(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float rounded(float x) { return wide(narrow(x)); }

// e^x by 2^n times a polynomial of degree 6 (relative error below 2e-7); arguments beyond float32 are cut off there.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    float shifted = x * 1.44269504f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    bits = (bits + 127u) << 23;  // the low bits of `shifted` are n
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

constexpr i64 BLOCK = 64;  // rows whose gradients of a norm's weight are summed together

constexpr i64 VECTOR = 32;

inline i64 whole(i64 n) { return (n + VECTOR - 1) / VECTOR * VECTOR; }

}  // namespace

extern "C" {

// y = w * round(x * rstd); rstd is kept for the way back.
void norm_forward(const bf16* restrict x_ND, const bf16* restrict w_D, bf16* restrict y_ND, float* restrict rstd_N,
                  i64 N, i64 D, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        const bf16* restrict x = x_ND + n * D;
        bf16* restrict y = y_ND + n * D;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (i64 d = 0; d < D; d++) {
            float value = wide(x[d]);
            sum += value * value;
        }
        float rstd = 1.0f / std::sqrt(sum / static_cast<float>(D) + eps);
        rstd_N[n] = rstd;
#pragma omp simd
        for (i64 d = 0; d < D; d++) y[d] = narrow(wide(w_D[d]) * rounded(wide(x[d]) * rstd));
    }
}

// dx = rstd * (g - xhat * mean(g * xhat)) with g = dy * w; dw = sum of dy * xhat over the rows, by blocks of rows whose
// sums stand in parts_BD (float32, one line a block). parts_BD and dw_D are null where the weight is frozen.
void norm_backward(const bf16* restrict dy_ND, const bf16* restrict x_ND, const bf16* restrict w_D,
                   const float* restrict rstd_N, bf16* restrict dx_ND, float* restrict parts_BD, bf16* restrict dw_D,
                   i64 N, i64 D, int threads) {
    i64 blocks = (N + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 block = 0; block < blocks; block++) {
        float* restrict part = parts_BD ? parts_BD + block * D : nullptr;
        if (part) std::memset(part, 0, D * sizeof(float));
        i64 last = (block + 1) * BLOCK < N ? (block + 1) * BLOCK : N;
        for (i64 n = block * BLOCK; n < last; n++) {
            const bf16* restrict dy = dy_ND + n * D;
            const bf16* restrict x = x_ND + n * D;
            bf16* restrict dx = dx_ND + n * D;
            float rstd = rstd_N[n], dot = 0.0f;
#pragma omp simd reduction(+ : dot)
            for (i64 d = 0; d < D; d++) dot += wide(dy[d]) * wide(w_D[d]) * wide(x[d]);
            float shrink = dot * rstd * rstd / static_cast<float>(D);
#pragma omp simd
            for (i64 d = 0; d < D; d++)
                dx[d] = narrow(rstd * (wide(dy[d]) * wide(w_D[d]) - wide(x[d]) * shrink));
            if (part) {
#pragma omp simd
                for (i64 d = 0; d < D; d++) part[d] += wide(dy[d]) * rounded(wide(x[d]) * rstd);
            }
        }
    }
    if (!dw_D) return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 d = 0; d < D; d++) {
        float sum = 0.0f;
        for (i64 block = 0; block < blocks; block++) sum += parts_BD[block * D + d];
        dw_D[d] = narrow(sum);
    }
}

// y = silu(gate) * up.
void swiglu_forward(const bf16* restrict gate_N, const bf16* restrict up_N, bf16* restrict y_N, i64 N, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        float gate = wide(gate_N[n]);
        y_N[n] = narrow(gate * sigmoid(gate) * wide(up_N[n]));
    }
}

void swiglu_backward(const bf16* restrict dy_N, const bf16* restrict gate_N, const bf16* restrict up_N,
                     bf16* restrict dgate_N, bf16* restrict dup_N, i64 N, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        float dy = wide(dy_N[n]), gate = wide(gate_N[n]);
        float s = sigmoid(gate);
        dup_N[n] = narrow(dy * gate * s);
        dgate_N[n] = narrow(dy * wide(up_N[n]) * s * (1.0f + gate * (1.0f - s)));
    }
}

// Takes places of a row into a block and turns them: x [T, H * D] -> out [S, H, L, D]. cos_TD is null for no turning.
void rotary_gather(const bf16* restrict x, const bf16* restrict cos_TD, const bf16* restrict sin_TD,
                   const i64* restrict places_SL, bf16* restrict out, i64 S, i64 H, i64 L, i64 D, int threads) {
    i64 half = D / 2;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (i64 s = 0; s < S; s++) {
        for (i64 l = 0; l < L; l++) {
            i64 place = places_SL[s * L + l];
            for (i64 h = 0; h < H; h++) {
                const bf16* restrict from = x + (place * H + h) * D;
                bf16* restrict to = out + ((s * H + h) * L + l) * D;
                if (!cos_TD) {
                    std::memcpy(to, from, D * sizeof(bf16));
                    continue;
                }
                const bf16* restrict c = cos_TD + place * D;
                const bf16* restrict z = sin_TD + place * D;
#pragma omp simd
                for (i64 d = 0; d < half; d++) {
                    float low = wide(from[d]), high = wide(from[d + half]);
                    to[d] = narrow(low * wide(c[d]) - high * wide(z[d]));
                    to[d + half] = narrow(high * wide(c[d + half]) + low * wide(z[d + half]));
                }
            }
        }
    }
}

// The way back, first part: block [S, H, L, D] added to sums [T, H * D] in float32, where a place may come up often.
void scatter_add(const bf16* restrict block, const i64* restrict places_SL, float* restrict sums, i64 S, i64 H, i64 L,
                 i64 D, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 h = 0; h < H; h++) {
        for (i64 s = 0; s < S; s++) {
            for (i64 l = 0; l < L; l++) {
                const bf16* restrict from = block + ((s * H + h) * L + l) * D;
                float* restrict to = sums + (places_SL[s * L + l] * H + h) * D;
#pragma omp simd
                for (i64 d = 0; d < D; d++) to[d] += wide(from[d]);
            }
        }
    }
}

// The way back, second part: the sums turned the other way, in bfloat16. cos_TD is null for no turning.
void rotary_back(const float* restrict sums, const bf16* restrict cos_TD, const bf16* restrict sin_TD,
                 bf16* restrict dx, i64 T, i64 H, i64 D, int threads) {
    i64 half = D / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 t = 0; t < T; t++) {
        for (i64 h = 0; h < H; h++) {
            const float* restrict from = sums + (t * H + h) * D;
            bf16* restrict to = dx + (t * H + h) * D;
            if (!cos_TD) {
#pragma omp simd
                for (i64 d = 0; d < D; d++) to[d] = narrow(from[d]);
                continue;
            }
            const bf16* restrict c = cos_TD + t * D;
            const bf16* restrict z = sin_TD + t * D;
#pragma omp simd
            for (i64 d = 0; d < half; d++) {
                float low = from[d], high = from[d + half];
                to[d] = narrow(low * wide(c[d]) + high * wide(z[d + half]));
                to[d + half] = narrow(high * wide(c[d + half]) - low * wide(z[d]));
            }
        }
    }
}

// Between a block [S, H, Q, D] and its real queries in the row [T, H * D]: number n stands at row_N[n] of the row and
// at block_N[n] = s * Q + q of the block. to_row says which way.
void copy_real(bf16* restrict block, bf16* restrict row, const i64* restrict row_N, const i64* restrict block_N, i64 N,
               i64 H, i64 Q, i64 D, int to_row, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        i64 s = block_N[n] / Q, q = block_N[n] % Q;
        for (i64 h = 0; h < H; h++) {
            bf16* restrict one = block + ((s * H + h) * Q + q) * D;
            bf16* restrict other = row + (row_N[n] * H + h) * D;
            std::memcpy(to_row ? other : one, to_row ? one : other, D * sizeof(bf16));
        }
    }
}

// In place: scores [S, H, Q, K] -> softmax(scale * scores) over what a query sees: the keys up to its own number, or
// those where hidden_SQK is 0. A query sees at least one key. Rows are worked on in whole vectors, whose ends are
// filled with what adds nothing.
void softmax_forward(bf16* scores, const uint8_t* restrict hidden_SQK, i64 S, i64 H, i64 Q, i64 K, float scale,
                     int threads) {
    i64 rows = S * H * Q;
#pragma omp parallel num_threads(threads)
    {
        float* buffer = new float[whole(K)];
#pragma omp for schedule(static, 8)
        for (i64 row = 0; row < rows; row++) {
            bf16* x = scores + row * K;
            i64 q = row % Q, seen = hidden_SQK ? K : q + 1, filled = whole(seen);
            const uint8_t* hidden = hidden_SQK ? hidden_SQK + ((row / (H * Q)) * Q + q) * K : nullptr;
            float largest = -INFINITY, sum = 0.0f;
            i64 read = filled < K ? filled : K;
#pragma omp simd
            for (i64 k = 0; k < read; k++) buffer[k] = k < seen ? scale * wide(x[k]) : -INFINITY;
            for (i64 k = read; k < filled; k++) buffer[k] = -INFINITY;
            if (hidden) {
#pragma omp simd
                for (i64 k = 0; k < seen; k++) buffer[k] = hidden[k] ? -INFINITY : buffer[k];
            }
#pragma omp simd reduction(max : largest)
            for (i64 k = 0; k < filled; k++) largest = buffer[k] > largest ? buffer[k] : largest;
#pragma omp simd reduction(+ : sum)
            for (i64 k = 0; k < filled; k++) {
                float value = exponential(buffer[k] - largest);
                value = buffer[k] == -INFINITY ? 0.0f : value;
                buffer[k] = value;
                sum += value;
            }
            float inverse = 1.0f / sum;
#pragma omp simd
            for (i64 k = 0; k < read; k++) x[k] = narrow(buffer[k] * inverse);
            if (read < K) std::memset(x + read, 0, (K - read) * sizeof(bf16));
        }
        delete[] buffer;
    }
}

// In place: the gradient by the weights becomes the one by the scores before scaling. What a query does not see has
// weight 0, and so gradient 0.
void softmax_backward(bf16* gradient, const bf16* restrict weights, i64 rows, i64 Q, i64 K, int is_causal, float scale,
                      int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 8)
    for (i64 row = 0; row < rows; row++) {
        bf16* d = gradient + row * K;
        const bf16* restrict w = weights + row * K;
        i64 filled = is_causal ? whole(row % Q + 1) : K, seen = filled < K ? filled : K;
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (i64 k = 0; k < seen; k++) dot += wide(d[k]) * wide(w[k]);
#pragma omp simd
        for (i64 k = 0; k < seen; k++) d[k] = narrow(scale * wide(w[k]) * (wide(d[k]) - dot));
        if (seen < K) std::memset(d + seen, 0, (K - seen) * sizeof(bf16));
    }
}

// loss = log(sum of e^x) - x[target]; the logarithm is kept for the way back.
void cross_entropy_forward(const bf16* restrict logits_NV, const i64* restrict targets_N, float* restrict losses_N,
                           float* restrict logs_N, i64 N, i64 V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        const bf16* restrict x = logits_NV + n * V;
        float largest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : largest)
        for (i64 v = 0; v < V; v++) largest = wide(x[v]) > largest ? wide(x[v]) : largest;
#pragma omp simd reduction(+ : sum)
        for (i64 v = 0; v < V; v++) sum += exponential(wide(x[v]) - largest);
        logs_N[n] = largest + std::log(sum);
        losses_N[n] = logs_N[n] - wide(x[targets_N[n]]);
    }
}

// (softmax - one at the target) * above.
void cross_entropy_backward(const float* restrict above_N, const bf16* restrict logits_NV, const i64* restrict targets_N,
                            const float* restrict logs_N, bf16* restrict gradient_NV, i64 N, i64 V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) {
        const bf16* restrict x = logits_NV + n * V;
        bf16* restrict d = gradient_NV + n * V;
        float above = above_N[n], log = logs_N[n];
#pragma omp simd
        for (i64 v = 0; v < V; v++) d[v] = narrow(above * exponential(wide(x[v]) - log));
        i64 target = targets_N[n];
        d[target] = narrow(above * (exponential(wide(x[target]) - log) - 1.0f));
    }
}

// sums += addend.
void add_narrow(float* restrict sums_N, const bf16* restrict addend_N, i64 N, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (i64 n = 0; n < N; n++) sums_N[n] += wide(addend_N[n]);
}

}  // extern "C"
