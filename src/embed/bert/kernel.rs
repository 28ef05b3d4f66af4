//! The innermost loop of the forward pass, for each kind of processor.

#![expect(unsafe_code, reason = "instructions of a processor that was asked whether it has them")]

use super::{linear::BLOCK, math::LANES};

/// Tokens whose sums are kept in registers together.
pub(super) const TOKENS: usize = 8;

/// Rows of factors that are taken together.
pub(super) const ROWS: usize = 4;

/// A way to compute sums of products. One that needs certain instructions can only be had where the processor has them.
pub(super) trait Kernel: Copy {
    /// For each of up to [`TOKENS`] rows of pairs, `[rows, pairs]`, and each of the outputs of a block of weights,
    /// `[pairs, BLOCK, 2]`, the sum of the products.
    fn dot(self, weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]);

    /// For each of up to [`ROWS`] rows of factors, the sum of the vectors, each times its factor.
    fn weigh(self, factors: &[&[f32]], vectors: &[[f32; LANES]], sums: &mut [[f32; LANES]]);

    /// Computes with the instructions of this kernel, also in all that is inlined.
    fn run<T>(self, compute: impl FnOnce() -> T) -> T {
        compute()
    }
}

/// For every processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portable;

impl Kernel for Portable {
    #[inline(always)]
    fn dot(self, weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]) {
        let count = pairs.len() / sums.len();
        for (row, sums) in pairs.chunks_exact(count).zip(sums) {
            for (pair, weights) in row.iter().zip(weights.as_chunks::<{ BLOCK * 2 }>().0) {
                let (first, second) = (pair << 16 >> 16, pair >> 16);
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum += first * i32::from(weights[at * 2]) + second * i32::from(weights[at * 2 + 1]);
                }
            }
        }
    }

    #[inline(always)]
    fn weigh(self, factors: &[&[f32]], vectors: &[[f32; LANES]], sums: &mut [[f32; LANES]]) {
        for (factors, sums) in factors.iter().zip(sums) {
            *sums = [0.0; LANES];
            for (factor, vector) in factors.iter().zip(vectors) {
                for (sum, value) in sums.iter_mut().zip(vector) {
                    *sum += factor * value;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m256i, __m512i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi32,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256,
        _mm512_add_ps, _mm512_cvtepi8_epi16, _mm512_dpwssd_epi32, _mm512_loadu_ps, _mm512_mul_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
        _mm512_storeu_si512,
    };

    use super::{BLOCK, Kernel, LANES};

    /// With 512-bit registers, and one instruction to multiply pairs and add them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in super::super) struct Avx512(());

    impl Avx512 {
        /// This kernel, where the processor has its instructions.
        pub(in super::super) fn find() -> Option<Self> {
            let has_all = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            has_all.then_some(Self(()))
        }
    }

    impl Kernel for Avx512 {
        fn run<T>(self, compute: impl FnOnce() -> T) -> T {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            fn inner<T>(compute: impl FnOnce() -> T) -> T {
                compute()
            }
            // SAFETY: there is no such kernel where the processor does not have them.
            unsafe { inner(compute) }
        }

        #[inline(always)]
        fn dot(self, weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]) {
            // SAFETY: there is no such kernel where the processor does not have these instructions.
            unsafe {
                match sums.len() {
                    1 => avx512::<1>(weights, pairs, sums),
                    2 => avx512::<2>(weights, pairs, sums),
                    3 => avx512::<3>(weights, pairs, sums),
                    4 => avx512::<4>(weights, pairs, sums),
                    5 => avx512::<5>(weights, pairs, sums),
                    6 => avx512::<6>(weights, pairs, sums),
                    7 => avx512::<7>(weights, pairs, sums),
                    _ => avx512::<8>(weights, pairs, sums),
                }
            }
        }

        #[inline(always)]
        fn weigh(self, factors: &[&[f32]], vectors: &[[f32; LANES]], sums: &mut [[f32; LANES]]) {
            // SAFETY: there is no such kernel where the processor does not have these instructions.
            unsafe {
                match sums.len() {
                    1 => weigh_avx512::<1>(factors, vectors, sums),
                    2 => weigh_avx512::<2>(factors, vectors, sums),
                    3 => weigh_avx512::<3>(factors, vectors, sums),
                    _ => weigh_avx512::<4>(factors, vectors, sums),
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512<const ROWS: usize>(weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]) {
        let count = pairs.len() / ROWS;
        let rows: [&[i32]; ROWS] = std::array::from_fn(|row| &pairs[row * count..][..count]);
        let mut totals = [[_mm512_setzero_si512(); 2]; ROWS];
        for (at, weights) in weights.as_chunks::<{ BLOCK * 2 }>().0[..count].iter().enumerate() {
            let (halves, _) = weights.as_chunks::<BLOCK>();
            let weights: [__m512i; 2] = std::array::from_fn(|half| {
                // SAFETY: 32 bytes are read, as many as half of the weights; no alignment is asked for.
                _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) })
            });
            for (totals, row) in totals.iter_mut().zip(rows) {
                let pair = _mm512_set1_epi32(row[at]);
                for (total, weights) in totals.iter_mut().zip(weights) {
                    *total = _mm512_dpwssd_epi32(*total, pair, weights);
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            for (sums, total) in sums.as_chunks_mut::<16>().0.iter_mut().zip(totals) {
                // SAFETY: 64 bytes are written, as many as there are sums; no alignment is asked for.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), total) };
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn weigh_avx512<const COUNT: usize>(
        factors: &[&[f32]],
        vectors: &[[f32; LANES]],
        sums: &mut [[f32; LANES]],
    ) {
        let rows: [&[f32]; COUNT] = std::array::from_fn(|row| &factors[row][..vectors.len()]);
        let mut totals = [_mm512_setzero_ps(); COUNT];
        for (at, vector) in vectors.iter().enumerate() {
            // SAFETY: 64 bytes are read, as many as there are values; no alignment is asked for.
            let vector = unsafe { _mm512_loadu_ps(vector.as_ptr()) };
            for (total, row) in totals.iter_mut().zip(rows) {
                *total = _mm512_add_ps(*total, _mm512_mul_ps(_mm512_set1_ps(row[at]), vector));
            }
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            // SAFETY: 64 bytes are written, as many as there are sums; no alignment is asked for.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
        }
    }

    /// With 256-bit registers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in super::super) struct Avx2(());

    impl Avx2 {
        /// This kernel, where the processor has its instructions.
        pub(in super::super) fn find() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }
    }

    impl Kernel for Avx2 {
        fn run<T>(self, compute: impl FnOnce() -> T) -> T {
            #[target_feature(enable = "avx2")]
            fn inner<T>(compute: impl FnOnce() -> T) -> T {
                compute()
            }
            // SAFETY: there is no such kernel where the processor does not have them.
            unsafe { inner(compute) }
        }

        #[inline(always)]
        fn dot(self, weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]) {
            let count = pairs.len() / sums.len();
            for (pairs, sums) in pairs.chunks(2 * count).zip(sums.chunks_mut(2)) {
                // SAFETY: there is no such kernel where the processor does not have these instructions.
                unsafe {
                    match sums.len() {
                        1 => avx2::<1>(weights, pairs, sums),
                        _ => avx2::<2>(weights, pairs, sums),
                    }
                }
            }
        }

        #[inline(always)]
        fn weigh(self, factors: &[&[f32]], vectors: &[[f32; LANES]], sums: &mut [[f32; LANES]]) {
            // SAFETY: there is no such kernel where the processor does not have these instructions.
            unsafe {
                match sums.len() {
                    1 => weigh_avx2::<1>(factors, vectors, sums),
                    2 => weigh_avx2::<2>(factors, vectors, sums),
                    3 => weigh_avx2::<3>(factors, vectors, sums),
                    _ => weigh_avx2::<4>(factors, vectors, sums),
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn avx2<const ROWS: usize>(weights: &[i8], pairs: &[i32], sums: &mut [[i32; BLOCK]]) {
        let count = pairs.len() / ROWS;
        let rows: [&[i32]; ROWS] = std::array::from_fn(|row| &pairs[row * count..][..count]);
        let mut totals = [[_mm256_setzero_si256(); 4]; ROWS];
        for (at, weights) in weights.as_chunks::<{ BLOCK * 2 }>().0[..count].iter().enumerate() {
            let (quarters, _) = weights.as_chunks::<16>();
            let weights: [__m256i; 4] = std::array::from_fn(|quarter| {
                // SAFETY: 16 bytes are read, as many as a quarter of the weights; no alignment is asked for.
                _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(quarters[quarter].as_ptr().cast()) })
            });
            for (totals, row) in totals.iter_mut().zip(rows) {
                let pair = _mm256_set1_epi32(row[at]);
                for (total, weights) in totals.iter_mut().zip(weights) {
                    *total = _mm256_add_epi32(*total, _mm256_madd_epi16(pair, weights));
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            for (sums, total) in sums.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
                // SAFETY: 32 bytes are written, as many as there are sums; no alignment is asked for.
                unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), total) };
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn weigh_avx2<const COUNT: usize>(
        factors: &[&[f32]],
        vectors: &[[f32; LANES]],
        sums: &mut [[f32; LANES]],
    ) {
        let rows: [&[f32]; COUNT] = std::array::from_fn(|row| &factors[row][..vectors.len()]);
        let mut totals = [[_mm256_setzero_ps(); 2]; COUNT];
        for (at, vector) in vectors.iter().enumerate() {
            let (halves, _) = vector.as_chunks::<8>();
            // SAFETY: 32 bytes are read, as many as half of the values; no alignment is asked for.
            let halves: [__m256; 2] =
                std::array::from_fn(|half| unsafe { _mm256_loadu_ps(halves[half].as_ptr()) });
            for (totals, row) in totals.iter_mut().zip(rows) {
                let factor = _mm256_set1_ps(row[at]);
                for (total, half) in totals.iter_mut().zip(halves) {
                    *total = _mm256_add_ps(*total, _mm256_mul_ps(factor, half));
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            for (sums, total) in sums.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
                // SAFETY: 32 bytes are written, as many as there are sums; no alignment is asked for.
                unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), total) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sums of `rows` tokens over so many pairs of inputs.
    fn sums(kernel: impl Kernel, rows: usize, weights: &[i8], pairs: &[i32]) -> Vec<[i32; BLOCK]> {
        let mut sums = vec![[0; BLOCK]; rows];
        kernel.dot(weights, pairs, &mut sums);
        sums
    }

    proptest! {
        #[test]
        fn every_processor_gives_the_same_sums(rows in 1_usize..=TOKENS, count in 1_usize..100, seed in 0_u64..1000) {
            let mut random = fastrand::Rng::with_seed(seed);
            let weights: Vec<i8> = (0..count * BLOCK * 2).map(|_| random.i8(-127..=127)).collect();
            let pairs: Vec<i32> = (0..rows * count).map(|_| random.i32(..)).collect();
            let expected: Vec<[i32; BLOCK]> = (0..rows)
                .map(|row| std::array::from_fn(|output| {
                    (0..count).fold(0_i32, |sum, at| {
                        let pair = pairs[row * count + at];
                        let weight = |part: usize| i32::from(weights[(at * BLOCK + output) * 2 + part]);
                        // The lower half, with its sign, and the upper one.
                        sum.wrapping_add((pair << 16 >> 16) * weight(0)).wrapping_add((pair >> 16) * weight(1))
                    })
                }))
                .collect();
            prop_assert_eq!(&sums(Portable, rows, &weights, &pairs), &expected);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(kernel) = Avx2::find() {
                    prop_assert_eq!(&sums(kernel, rows, &weights, &pairs), &expected);
                }
                if let Some(kernel) = Avx512::find() {
                    prop_assert_eq!(&sums(kernel, rows, &weights, &pairs), &expected);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_processor_weighs_alike(rows in 1_usize..=ROWS, count in 1_usize..50, seed in 0_u64..1000) {
            let mut random = fastrand::Rng::with_seed(seed);
            let factors: Vec<f32> = (0..rows * count).map(|_| random.f32() - 0.5).collect();
            let factors: Vec<&[f32]> = factors.chunks(count).collect();
            let vectors: Vec<[f32; LANES]> =
                (0..count).map(|_| std::array::from_fn(|_| random.f32() - 0.5)).collect();
            let weighed = |kernel: &dyn Fn(&mut [[f32; LANES]])| {
                let mut sums = vec![[1.0; LANES]; rows];
                kernel(&mut sums);
                sums
            };
            let expected: Vec<[f32; LANES]> = (0..rows)
                .map(|row| std::array::from_fn(|lane| {
                    factors[row].iter().zip(&vectors).fold(0.0, |sum, (factor, vector)| sum + factor * vector[lane])
                }))
                .collect();
            prop_assert_eq!(&weighed(&|sums| Portable.weigh(&factors, &vectors, sums)), &expected);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(kernel) = Avx2::find() {
                    prop_assert_eq!(&weighed(&|sums| kernel.weigh(&factors, &vectors, sums)), &expected);
                }
                if let Some(kernel) = Avx512::find() {
                    prop_assert_eq!(&weighed(&|sums| kernel.weigh(&factors, &vectors, sums)), &expected);
                }
            }
        }
    }

    #[test]
    fn sums_of_the_largest_numbers_do_not_overflow() {
        // 384 inputs, all of the same sign, as `Rounded` bounds them.
        let weights = [127; 192 * BLOCK * 2];
        let pairs = [32_767 << 16 | 32_767; 192];
        assert_eq!(sums(Portable, 1, &weights, &pairs), [[127 * 32_767 * 384; BLOCK]]);
    }
}
