use std::collections::HashSet;

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
        let near = crate::embed::Embedding::normalized(near).unwrap();
        vectors.push(Quantized::new(near.as_slice()).as_slice());
    }
    vectors
}

fn rows(vectors: &Vectors) -> Vec<Quantized> {
    (0..vectors.len()).map(|row| Quantized::from_row(vectors.row(row))).collect()
}

/// Share of the ten nearest that the graph finds.
fn recall(vectors: &Vectors, hnsw: &Hnsw) -> f64 {
    let exact = Exact::new(vectors.clone());
    let queries = rows(&clustered(100, vectors.dimensions(), 8));
    let found = |index: &dyn VectorIndex, query| -> HashSet<usize> {
        index.search(query, 10).into_iter().map(|hit| hit.row).collect()
    };
    let both = queries.iter().map(|query| found(&exact, query).intersection(&found(hnsw, query)).count());
    f64::from(u32::try_from(both.sum::<usize>()).unwrap()) / 1000.0
}

#[test]
fn hnsw_finds_nearly_all_that_the_exact_scan_finds() {
    let vectors = clustered(4_000, 64, 7);
    let hnsw = Hnsw::build(vectors.clone());
    let share = recall(&vectors, &hnsw);
    assert!(share >= 0.98, "recall@10 is {share}");
    assert!(graph::is_connected(hnsw.graph()));
}

#[test]
fn a_graph_that_grew_finds_as_much_as_one_that_was_built() {
    let vectors = clustered(4_000, 64, 7);
    for built in [0, 1, 2_000] {
        let mut first = Vectors::new(64);
        (0..built).for_each(|row| first.push(vectors.row(row)));
        let hnsw = Hnsw::build(first).extended(vectors.clone());
        let share = recall(&vectors, &hnsw);
        assert!(share >= 0.98, "recall@10 is {share} after {built}");
        assert!(graph::is_connected(hnsw.graph()));
    }
}

#[test]
fn duplicates_and_the_query_itself_do_not_break_hnsw() {
    let mut vectors = clustered(300, 32, 3);
    let copy = vectors.row(5).to_vec();
    (0..300).for_each(|_| vectors.push(&copy));
    let query = Quantized::from_row(&copy);
    let built = Hnsw::build(vectors.clone());
    (0..300).for_each(|_| vectors.push(&copy));
    for hnsw in [built.extended(vectors.clone()), Hnsw::build(vectors)] {
        let best = hnsw.search(&query, 1);
        assert!((best[0].score - 1.0).abs() < 1e-3, "{best:?}");
    }
}

#[test]
fn an_empty_index_finds_nothing() {
    let vectors = Vectors::new(8);
    let query = Quantized::new(&[0.0; 8]);
    assert!(Exact::new(vectors.clone()).search(&query, 5).is_empty());
    assert!(Hnsw::build(vectors).search(&query, 5).is_empty());
}

#[test]
fn a_cosine_is_that_of_floats() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        let mut some = || {
            let values = (0..384).map(|_| random.f32() - 0.5).collect();
            crate::embed::Embedding::normalized(values).unwrap()
        };
        let (left, right) = (some(), some());
        let exact: f32 = left.as_slice().iter().zip(right.as_slice()).map(|(left, right)| left * right).sum();
        let got = Quantized::new(left.as_slice()).cosine(&Quantized::new(right.as_slice()));
        assert!((exact - got).abs() < 5e-5, "{got} for {exact}");
    }
    let one = Quantized::new(&[1.0, 0.0]);
    assert!((one.cosine(&Quantized::new(&[-1.0, 0.0])) + 1.0).abs() < 1e-6);
}

#[test]
fn adding_rows_leaves_clones_as_they_are() {
    let mut vectors = clustered(vectors::ROWS_TOGETHER + 10, 8, 1);
    let before = vectors.clone();
    vectors.push(&[7; 8]);
    assert_eq!((before.len() + 1, vectors.len()), (vectors.len(), vectors::ROWS_TOGETHER + 11));
    assert_eq!(vectors.row(before.len()), [7; 8]);
    assert_eq!(vectors.row(before.len() - 1), before.row(before.len() - 1));
    assert_eq!(vectors.parts().map(<[i16]>::len).sum::<usize>(), vectors.len() * 8);
}

proptest! {
    #[test]
    fn the_exact_scan_agrees_with_a_full_sort(seed in 0_u64..1000, count in 1_usize..70, rows in 1_usize..300) {
        let vectors = clustered(rows, 24, seed);
        let query = &self::rows(&clustered(1, 24, seed + 1))[0];
        let mut all: Vec<(i32, usize)> =
            (0..vectors.len()).map(|row| (product::dot(vectors.row(row), query.as_slice()), row)).collect();
        all.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        all.truncate(count);
        let all: Vec<Hit> =
            all.into_iter().map(|(product, row)| Hit { row, score: vectors::cosine(product) }).collect();
        prop_assert_eq!(Exact::new(vectors).search(query, count), all);
    }

    #[test]
    fn several_queries_at_once_find_what_each_finds_alone(
        seed in 0_u64..1000, rows in 0_usize..60, counts in prop::collection::vec(0_usize..70, 0..4)
    ) {
        let vectors = clustered(rows, 24, seed);
        let asked = self::rows(&clustered(counts.len(), 24, seed + 1));
        let queries: Vec<(&Quantized, usize)> = asked.iter().zip(counts).collect();
        let exact = Exact::new(vectors);
        let alone: Vec<Vec<Hit>> = queries.iter().map(|(query, count)| exact.search(query, *count)).collect();
        prop_assert_eq!(exact.search_each(&queries), alone);
    }
}

#[test]
fn a_scan_on_several_threads_finds_the_same() {
    let vectors = clustered(30_000, 16, 2);
    let query = &rows(&clustered(1, 16, 3))[0];
    let mut all: Vec<(i32, usize)> =
        (0..vectors.len()).map(|row| (product::dot(vectors.row(row), query.as_slice()), row)).collect();
    all.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
    let found: Vec<usize> = Exact::new(vectors).search(query, 100).into_iter().map(|hit| hit.row).collect();
    assert_eq!(found, all.into_iter().take(100).map(|(_, row)| row).collect::<Vec<_>>());
}
