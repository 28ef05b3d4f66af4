//! Functions of rows of floats, written so that a compiler makes vector instructions of them: no branches, no calls,
//! sums over sixteen lanes in a fixed order. So they give the same bits on every processor.

/// Lanes of a sum.
pub(super) const LANES: usize = 16;

/// `e^x` for `x` from -87 to 88, and at these ends beyond them; the relative error is below 3e-7 (Cephes' `expf`).
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "as published")]
fn exp(x: f32) -> f32 {
    const NO_FRACTIONS: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let power = x * std::f32::consts::LOG2_E + NO_FRACTIONS;
    let whole = power - NO_FRACTIONS;
    let rest = x - whole * 0.693_359_375 + whole * 2.121_944_4e-4;
    let polynomial = 1.987_569_2e-4;
    let polynomial = polynomial * rest + 1.398_199_9e-3;
    let polynomial = polynomial * rest + 8.333_452e-3;
    let polynomial = polynomial * rest + 4.166_579_6e-2;
    let polynomial = polynomial * rest + 1.666_666_5e-1;
    let polynomial = polynomial * rest + 0.5;
    let fraction = polynomial * rest * rest + rest + 1.0;
    // 2 to that power: its exponent is all there is of it.
    let exponent = power.to_bits().wrapping_sub(NO_FRACTIONS.to_bits()).wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent)
}

/// The Gaussian error linear unit, `x * (1 + erf(x / sqrt 2)) / 2`, in place. `erf` is Abramowitz and Stegun's 7.1.26,
/// which is off by at most 1.5e-7.
#[inline(always)]
pub(super) fn gelu(values: &mut [f32]) {
    for value in values {
        let x = value.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * x);
        let polynomial = 1.061_405_4 * t - 1.453_152_1;
        let polynomial = polynomial * t + 1.421_413_8;
        let polynomial = polynomial * t - 0.284_496_72;
        let polynomial = (polynomial * t + 0.254_829_6) * t;
        let erf = 1.0 - polynomial * exp(-x * x);
        *value = 0.5 * (*value + value.abs() * erf);
    }
}

/// Sums to 1 what `e` is raised to, in place.
#[inline(always)]
pub(super) fn softmax(values: &mut [f32]) {
    let largest = values.iter().fold(f32::NEG_INFINITY, |largest, value| largest.max(*value));
    for value in &mut *values {
        *value = exp(*value - largest);
    }
    let factor = 1.0 / sum(values, |value| value);
    for value in values {
        *value *= factor;
    }
}

/// Rows of the length of `weight` to mean 0 and variance 1, then scaled and moved, in place (Ba et al., 2016).
#[inline(always)]
pub(super) fn normalize(values: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    #[expect(clippy::cast_precision_loss, reason = "the width of a model")]
    let share = 1.0 / weight.len() as f32;
    for row in values.chunks_exact_mut(weight.len()) {
        let mean = sum(row, |value| value) * share;
        let variance = sum(row, |value| (value - mean) * (value - mean)) * share;
        let factor = 1.0 / (variance + epsilon).sqrt();
        for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *value = (*value - mean) * factor * weight + bias;
        }
    }
}

/// Adds to each value another one.
#[inline(always)]
pub(super) fn add(values: &mut [f32], added: &[f32]) {
    for (value, added) in values.iter_mut().zip(added) {
        *value += added;
    }
}

#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += of(*value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exp_is_that_of_the_standard_library(x in -87.0_f32..88.0) {
            let exact = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) - exact).abs() <= 3e-7 * exact);
        }

        #[test]
        fn softmax_sums_to_one(mut values in prop::collection::vec(-50.0_f32..50.0, 1..80)) {
            softmax(&mut values);
            prop_assert!((values.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!(values.iter().all(|value| *value >= 0.0));
        }

        #[test]
        fn rows_are_normalized(mut values in prop::collection::vec(-9.0_f32..9.0, 64)) {
            normalize(&mut values, &[2.0; 32], &[1.0; 32], 1e-12);
            for row in values.chunks_exact(32) {
                let mean = row.iter().sum::<f32>() / 32.0;
                let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 32.0;
                prop_assert!((mean - 1.0).abs() < 1e-4 && (variance - 4.0).abs() < 1e-3, "{mean} {variance}");
            }
        }
    }

    #[test]
    fn gelu_is_that_of_the_paper() {
        // Hendrycks and Gimpel, 2016; from scipy.stats.norm.cdf.
        for (x, exact) in
            [(-6.0, -5.919_5e-9), (-1.0, -0.158_655_25), (0.0, 0.0), (0.5, 0.345_731_23), (3.0, 2.995_950_3)]
        {
            let mut values = [x];
            gelu(&mut values);
            assert!((values[0] - exact).abs() < 1e-6, "{} for {x}", values[0]);
        }
    }
}
