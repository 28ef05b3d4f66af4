//! Sums of products of vectors in fixed point: one plain loop, compiled for several kinds of processor.

#![expect(unsafe_code, reason = "instructions of a processor that was asked whether it has them")]
#![expect(
    clippy::inline_always,
    reason = "else it would not be compiled with the instructions of its caller"
)]

/// The sum of the products of two vectors of one length.
pub(super) fn dot(left: &[i16], right: &[i16]) -> i32 {
    with_best_instructions(
        #[inline(always)]
        || sum(left, right),
    )
}

/// The product of each row, `[rows, dimensions]`, with each query: `[rows, queries]`, in the order of the rows.
pub(super) fn dot_each(rows: &[i16], dimensions: usize, queries: &[&[i16]], products: &mut Vec<i32>) {
    products.clear();
    products.reserve(rows.len() / dimensions.max(1) * queries.len());
    with_best_instructions(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(dimensions.max(1)) {
                for query in queries {
                    products.push(sum(row, query));
                }
            }
        },
    );
}

#[inline(always)]
fn sum(left: &[i16], right: &[i16]) -> i32 {
    left.iter()
        .zip(right)
        .fold(0, |sum: i32, (left, right)| sum.wrapping_add(i32::from(*left) * i32::from(*right)))
}

/// Computes with the widest instructions that the processor has.
#[inline(always)]
fn with_best_instructions<T>(compute: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        if has_avx512 {
            // SAFETY: the processor has them.
            return unsafe { with_avx512(compute) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has them.
            return unsafe { with_avx2(compute) };
        }
    }
    compute()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn with_avx512<T>(compute: impl FnOnce() -> T) -> T {
    compute()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<T>(compute: impl FnOnce() -> T) -> T {
    compute()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_kind_of_processor_gives_the_plain_sum(
            pairs in prop::collection::vec((-32767_i16..=32767, -32767_i16..=32767), 0..100)
        ) {
            let (left, right): (Vec<i16>, Vec<i16>) = pairs.iter().copied().unzip();
            let exact: i64 = pairs.iter().map(|(left, right)| i64::from(*left) * i64::from(*right)).sum();
            #[expect(clippy::cast_possible_truncation, reason = "sums wrap")]
            let expected = exact as i32;
            prop_assert_eq!(dot(&left, &right), expected);
            prop_assert_eq!(sum(&left, &right), expected);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has them.
                prop_assert_eq!(unsafe { with_avx2(#[inline(always)] || sum(&left, &right)) }, expected);
            }
        }

        #[test]
        fn each_row_meets_each_query(rows in 0_usize..5, dimensions in 1_usize..40, queries in 0_usize..4) {
            let mut random = fastrand::Rng::with_seed(7);
            let mut some = |count: usize| -> Vec<i16> { (0..count).map(|_| random.i16(-900..900)).collect() };
            let (rows, queries) = (some(rows * dimensions), some(queries * dimensions));
            let queries: Vec<&[i16]> = queries.chunks_exact(dimensions).collect();
            let mut products = vec![1];
            dot_each(&rows, dimensions, &queries, &mut products);
            let expected: Vec<i32> = rows
                .chunks_exact(dimensions)
                .flat_map(|row| queries.iter().map(|query| dot(row, query)).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(products, expected);
        }
    }
}
