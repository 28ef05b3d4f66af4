//! Products with a matrix of 8-bit weights.
//!
//! The weights stay as they are stored, and the activations of a token are rounded to at most 16 bits with a scale
//! of their own, so that the sums are exact in 32-bit integers: every instruction set gives the same bits. Two
//! neighbouring inputs are multiplied and added by one instruction where the processor has it.

use super::kernel::{Kernel, TOKENS};

/// Outputs that lie together in the packed weights.
pub(super) const BLOCK: usize = 32;

/// A layer `y = W x + b`.
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[outputs / BLOCK, pairs of inputs, BLOCK, 2]`, filled up with zeros.
    weights: Vec<i8>,
    /// Of each output, `[outputs]`, filled up to whole blocks.
    scales: Vec<f32>,
    /// The same.
    bias: Vec<f32>,
}

/// A layer as it is stored.
pub(super) struct Dense<'a> {
    /// Length of a row.
    pub inputs: usize,
    /// Signed, `[outputs, inputs]`.
    pub weights: &'a [u8],
    /// What one step of a row is worth, `[outputs]`.
    pub scales: Vec<f32>,
    /// What is added, `[outputs]`.
    pub bias: Vec<f32>,
}

/// Activations as integers: `tokens` rows.
#[derive(Default)]
pub(super) struct Rounded {
    /// Two neighbouring inputs in the halves of each number, `[tokens, pairs]`; the first is the lower half.
    pub pairs: Vec<i32>,
    /// What one step is worth, `[tokens]`.
    pub steps: Vec<f32>,
}

impl Linear {
    /// Packs layers with the same inputs as one, their outputs one after the other.
    pub(super) fn new(parts: &[Dense<'_>]) -> Self {
        let inputs = parts[0].inputs;
        let outputs: usize = parts.iter().map(|part| part.scales.len()).sum();
        let pairs = inputs.div_ceil(2);
        let blocks = outputs.div_ceil(BLOCK);
        let mut weights = vec![0; blocks * pairs * BLOCK * 2];
        let rows = parts.iter().flat_map(|part| part.weights.chunks_exact(inputs));
        for (output, row) in rows.enumerate() {
            let first = output / BLOCK * pairs * BLOCK * 2 + output % BLOCK * 2;
            for (input, weight) in row.iter().enumerate() {
                weights[first + input / 2 * BLOCK * 2 + input % 2] = weight.cast_signed();
            }
        }
        let filled = |mut values: Vec<f32>| {
            values.resize(blocks * BLOCK, 0.0);
            values
        };
        let scales = filled(parts.iter().flat_map(|part| part.scales.iter().copied()).collect());
        let bias = filled(parts.iter().flat_map(|part| part.bias.iter().copied()).collect());
        Self { inputs, outputs, weights, scales, bias }
    }

    /// Computes `[tokens, inputs]` to `[tokens, outputs]`.
    #[inline(always)]
    pub(super) fn apply(
        &self,
        kernel: impl Kernel,
        input: &[f32],
        rounded: &mut Rounded,
        output: &mut Vec<f32>,
    ) {
        let tokens = input.len() / self.inputs;
        rounded.set(input, self.inputs);
        output.resize(tokens * self.outputs, 0.0);
        let pairs = self.inputs.div_ceil(2);
        for (block, weights) in self.weights.chunks_exact(pairs * BLOCK * 2).enumerate() {
            let first = block * BLOCK;
            let count = BLOCK.min(self.outputs - first);
            let scales = &self.scales[first..first + BLOCK];
            let bias = &self.bias[first..first + BLOCK];
            for from in (0..tokens).step_by(TOKENS) {
                let to = tokens.min(from + TOKENS);
                let mut sums = [[0; BLOCK]; TOKENS];
                kernel.dot(weights, &rounded.pairs[from * pairs..to * pairs], &mut sums[..to - from]);
                for (token, sums) in (from..to).zip(&sums) {
                    let step = rounded.steps[token];
                    let row = &mut output[token * self.outputs + first..][..count];
                    for (((value, sum), scale), bias) in row.iter_mut().zip(sums).zip(scales).zip(bias) {
                        #[expect(clippy::cast_precision_loss, reason = "as exact as the product of floats")]
                        let sum = *sum as f32;
                        *value = sum * (step * scale) + bias;
                    }
                }
            }
        }
    }
}

impl Rounded {
    /// Takes rows of `inputs` values.
    #[inline(always)]
    fn set(&mut self, values: &[f32], inputs: usize) {
        // So that no sum of products with 8-bit weights overflows, however all signs agree.
        #[expect(clippy::cast_precision_loss, reason = "at most 32,767")]
        let most = (i32::MAX as usize / (inputs * 128)).min(i16::MAX as usize) as f32;
        self.pairs.clear();
        self.steps.clear();
        for row in values.chunks_exact(inputs) {
            let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let step = if largest > 0.0 { largest / most } else { 1.0 };
            self.steps.push(step);
            let factor = 1.0 / step;
            let (whole, rest) = row.as_chunks::<2>();
            self.pairs.extend(whole.iter().map(|[first, second]| pair(first * factor, second * factor)));
            self.pairs.extend(rest.iter().map(|last| pair(last * factor, 0.0)));
        }
    }
}

/// Both numbers rounded, in the halves of one.
#[inline(always)]
fn pair(first: f32, second: f32) -> i32 {
    rounded(second) << 16 | (rounded(first) & 0xFFFF)
}

/// The nearest integer. Adding this number leaves no bits for fractions, and unlike a call to `round` it is two
/// instructions on every processor.
#[inline(always)]
fn rounded(value: f32) -> i32 {
    const NO_FRACTIONS: f32 = 12_582_912.0;
    (value + NO_FRACTIONS).to_bits().wrapping_sub(NO_FRACTIONS.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::kernel::Portable, *};

    proptest! {
        #[test]
        fn products_are_those_of_floats(
            inputs in 1_usize..70, outputs in 1_usize..40, tokens in 1_usize..20, seed in 0_u64..1000,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let weights: Vec<i8> = (0..inputs * outputs).map(|_| random.i8(-127..=127)).collect();
            let scales: Vec<f32> = (0..outputs).map(|_| random.f32()).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| random.f32() - 0.5).collect();
            let input: Vec<f32> = (0..inputs * tokens).map(|_| random.f32() * 8.0 - 4.0).collect();
            let bytes: Vec<u8> = weights.iter().map(|weight| weight.cast_unsigned()).collect();
            let part = Dense { inputs, weights: &bytes, scales: scales.clone(), bias: bias.clone() };
            let layer = Linear::new(&[part]);
            let mut output = Vec::new();
            layer.apply(Portable, &input, &mut Rounded::default(), &mut output);
            for (token, row) in input.chunks_exact(inputs).enumerate() {
                for at in 0..outputs {
                    let weights = &weights[at * inputs..][..inputs];
                    let sum: f32 = row.iter().zip(weights).map(|(value, weight)| value * f32::from(*weight)).sum();
                    let exact = sum * scales[at] + bias[at];
                    let size: f32 = row.iter().zip(weights).map(|(value, weight)| (value * f32::from(*weight)).abs()).sum();
                    let got = output[token * outputs + at];
                    prop_assert!((got - exact).abs() <= 1e-3 * size * scales[at] + 1e-4, "{got} for {exact}");
                }
            }
        }
    }
}
