//! Attention among the tokens of one text (Vaswani et al., 2017).

use super::{
    kernel::{Kernel, ROWS},
    math::{LANES, softmax},
};

/// Keys and values of one head, laid out for vector instructions; empty lanes are 0.
#[derive(Default)]
pub(super) struct Attention {
    /// `[tokens / LANES, size]`: tokens lie side by side.
    keys: Vec<[f32; LANES]>,
    /// `[size / LANES, tokens]`: parts of a value lie side by side.
    values: Vec<[f32; LANES]>,
    /// How much each token attends to each other, `[ROWS, tokens]`, filled up to whole lanes.
    shares: Vec<f32>,
}

impl Attention {
    /// From queries, keys and values, `[tokens, 3, heads, size]`, to `[tokens, heads, size]`.
    #[inline(always)]
    pub(super) fn apply(
        &mut self,
        kernel: impl Kernel,
        inputs: &[f32],
        heads: usize,
        output: &mut [f32],
        hidden: usize,
    ) {
        let size = hidden / heads;
        for head in 0..heads {
            self.set(inputs, head * size, size, hidden);
            for (rows, output) in inputs.chunks(ROWS * 3 * hidden).zip(output.chunks_mut(ROWS * hidden)) {
                self.attend(kernel, rows, head * size, size, output, hidden);
            }
        }
    }

    /// Takes the keys and values of a head, whose parts begin at `first`.
    #[inline(always)]
    fn set(&mut self, inputs: &[f32], first: usize, size: usize, hidden: usize) {
        let tokens = inputs.len() / (3 * hidden);
        self.keys.clear();
        self.keys.resize(tokens.div_ceil(LANES) * size, [0.0; LANES]);
        self.values.clear();
        self.values.resize(size.div_ceil(LANES) * tokens, [0.0; LANES]);
        for (token, row) in inputs.chunks_exact(3 * hidden).enumerate() {
            let keys = &mut self.keys[token / LANES * size..][..size];
            for (lanes, key) in keys.iter_mut().zip(&row[hidden + first..]) {
                lanes[token % LANES] = *key;
            }
            for (chunk, values) in row[2 * hidden + first..][..size].chunks(LANES).enumerate() {
                self.values[chunk * tokens + token][..values.len()].copy_from_slice(values);
            }
        }
    }

    /// What up to [`ROWS`] tokens take from all.
    #[inline(always)]
    fn attend(
        &mut self,
        kernel: impl Kernel,
        rows: &[f32],
        first: usize,
        size: usize,
        output: &mut [f32],
        hidden: usize,
    ) {
        let count = rows.len() / (3 * hidden);
        let tokens = self.values.len() / size.div_ceil(LANES);
        let width = tokens.div_ceil(LANES) * LANES;
        #[expect(clippy::cast_precision_loss, reason = "the width of a model")]
        let factor = 1.0 / (size as f32).sqrt();
        let none: &[f32] = &[];
        let mut sums = [[0.0; LANES]; ROWS];
        let mut queries = [none; ROWS];
        for (query, row) in queries.iter_mut().zip(rows.chunks_exact(3 * hidden)) {
            *query = &row[first..][..size];
        }
        self.shares.resize(ROWS * width, 0.0);
        for (block, keys) in self.keys.chunks_exact(size).enumerate() {
            kernel.weigh(&queries[..count], keys, &mut sums[..count]);
            for (sums, shares) in sums.iter().zip(self.shares.chunks_exact_mut(width)) {
                for (share, sum) in shares[block * LANES..].iter_mut().zip(sums) {
                    *share = sum * factor;
                }
            }
        }
        let mut shares = [none; ROWS];
        for (row, shares) in self.shares.chunks_exact_mut(width).zip(&mut shares).take(count) {
            let row = &mut row[..tokens];
            softmax(row);
            *shares = row;
        }
        for (chunk, values) in self.values.chunks_exact(tokens).enumerate() {
            kernel.weigh(&shares[..count], values, &mut sums[..count]);
            let part = LANES.min(size - chunk * LANES);
            for (sums, output) in sums.iter().zip(output.chunks_exact_mut(hidden)) {
                output[first + chunk * LANES..][..part].copy_from_slice(&sums[..part]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_token_takes_its_share_of_all(tokens in 1_usize..40, heads in 1_usize..4, size in 1_usize..40, seed in 0_u64..1000) {
            let mut random = fastrand::Rng::with_seed(seed);
            let hidden = heads * size;
            let inputs: Vec<f32> = (0..tokens * 3 * hidden).map(|_| random.f32() * 4.0 - 2.0).collect();
            let mut output = vec![0.0; tokens * hidden];
            Attention::default().apply(super::super::kernel::Portable, &inputs, heads, &mut output, hidden);
            let part = |token: usize, kind: usize, at: usize| f64::from(inputs[(token * 3 + kind) * hidden + at]);
            for token in 0..tokens {
                for head in 0..heads {
                    let weights: Vec<f64> = (0..tokens)
                        .map(|other| {
                            let places = head * size..(head + 1) * size;
                            let dot: f64 = places.map(|at| part(token, 0, at) * part(other, 1, at)).sum();
                            #[expect(clippy::cast_precision_loss)]
                            let scaled = dot / (size as f64).sqrt();
                            scaled.exp()
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for at in head * size..(head + 1) * size {
                        let exact: f64 =
                            weights.iter().enumerate().map(|(other, weight)| weight / total * part(other, 2, at)).sum();
                        let got = f64::from(output[token * hidden + at]);
                        prop_assert!((got - exact).abs() < 1e-4, "{got} for {exact}");
                    }
                }
            }
        }
    }
}
