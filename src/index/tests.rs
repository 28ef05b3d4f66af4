use std::{collections::HashSet, sync::Arc};

use proptest::prelude::*;

use super::*;

/// Vectors around centres, like tools around servers; the same for the same seed.
fn clustered(rows: usize, dimensions: usize, seed: u64) -> Vectors {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "24 random bits fit an f32")]
        let unit = (state >> 40) as f32 / (1_u32 << 24) as f32;
        unit - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..50).map(|_| (0..dimensions).map(|_| next()).collect()).collect();
    let mut vectors = Vectors::new(dimensions);
    for row in 0..rows {
        let near = centres[row % centres.len()].iter().map(|value| value + next()).collect();
        vectors.push(crate::embed::Embedding::normalized(near).unwrap().as_slice());
    }
    vectors
}

#[test]
fn hnsw_finds_nearly_all_that_the_exact_scan_finds() {
    let vectors = Arc::new(clustered(4_000, 64, 7));
    let queries = clustered(100, 64, 8);
    let (exact, hnsw) = (Exact::new(Arc::clone(&vectors)), Hnsw::build(&vectors));
    let mut found = 0;
    for query in queries.rows() {
        let rows = |index: &dyn VectorIndex| -> HashSet<usize> {
            index.search(query, 10).into_iter().map(|hit| hit.row).collect()
        };
        found += rows(&exact).intersection(&rows(&hnsw)).count();
    }
    let recall = f64::from(u32::try_from(found).unwrap()) / 1000.0;
    assert!(recall >= 0.98, "recall@10 is {recall}");
}

#[test]
fn duplicates_and_the_query_itself_do_not_break_hnsw() {
    let mut vectors = clustered(300, 32, 3);
    for _ in 0..300 {
        let copy = vectors.row(5).to_vec();
        vectors.push(&copy);
    }
    let hnsw = Hnsw::build(&vectors);
    let best = hnsw.search(vectors.row(5), 1);
    assert!((best[0].score - 1.0).abs() < 1e-5, "{best:?}");
}

#[test]
fn an_empty_index_finds_nothing() {
    let vectors = Arc::new(Vectors::new(8));
    assert!(Exact::new(Arc::clone(&vectors)).search(&[0.0; 8], 5).is_empty());
    assert!(Hnsw::build(&vectors).search(&[0.0; 8], 5).is_empty());
}

proptest! {
    #[test]
    fn the_exact_scan_agrees_with_a_full_sort(seed in 0_u64..1000, rows in 1_usize..60, count in 1_usize..70) {
        let vectors = Arc::new(clustered(rows, 24, seed));
        let query = clustered(1, 24, seed + 1);
        let mut all: Vec<Hit> = vectors.rows().enumerate()
            .map(|(row, values)| Hit { row, score: dot(query.row(0), values) })
            .collect();
        all.sort_by(best_first);
        all.truncate(count);
        prop_assert_eq!(Exact::new(vectors).search(query.row(0), count), all);
    }

    #[test]
    fn several_queries_at_once_find_what_each_finds_alone(
        seed in 0_u64..1000, rows in 0_usize..60, counts in prop::collection::vec(0_usize..70, 0..4)
    ) {
        let vectors = clustered(rows, 24, seed);
        let asked = clustered(counts.len(), 24, seed + 1);
        let queries: Vec<(&[f32], usize)> = asked.rows().zip(counts).collect();
        let exact = Exact::new(Arc::new(vectors));
        let alone: Vec<Vec<Hit>> = queries.iter().map(|(query, count)| exact.search(query, *count)).collect();
        prop_assert_eq!(exact.search_each(&queries), alone);
    }

    #[test]
    fn dot_is_the_sum_of_products(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..100)) {
        let (left, right): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let expected: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        prop_assert!((f64::from(dot(&left, &right)) - expected).abs() < 1e-4);
    }
}
