//! Exact search: every row is compared.

use rayon::prelude::*;

use super::{
    Hit, Quantized, VectorIndex, Vectors, product,
    vectors::{ROWS_TOGETHER, cosine},
};

/// From so many rows on the scan is spread over threads.
const PARALLEL_FROM: usize = 20_000;

/// A scan over all rows.
pub struct Exact {
    vectors: Vectors,
}

impl Exact {
    /// An index that compares with each of `vectors`.
    pub fn new(vectors: Vectors) -> Self {
        Self { vectors }
    }
}

impl VectorIndex for Exact {
    fn search(&self, query: &Quantized, count: usize) -> Vec<Hit> {
        self.search_each(&[(query, count)]).pop().unwrap_or_default()
    }

    // One pass: reading the rows from memory costs more than comparing them.
    fn search_each(&self, queries: &[(&Quantized, usize)]) -> Vec<Vec<Hit>> {
        let rows: Vec<&[i16]> = queries.iter().map(|(query, _)| query.as_slice()).collect();
        let none = || -> Vec<Best> { queries.iter().map(|(_, count)| Best::new(*count)).collect() };
        let scan = |mut best: Vec<Best>, (part, values): (usize, &[i16])| {
            let mut products = Vec::new();
            product::dot_each(values, self.vectors.dimensions(), &rows, &mut products);
            for (row, products) in products.chunks_exact(rows.len().max(1)).enumerate() {
                for (best, product) in best.iter_mut().zip(products) {
                    best.offer(*product, part * ROWS_TOGETHER + row);
                }
            }
            best
        };
        let parts: Vec<(usize, &[i16])> = self.vectors.parts().enumerate().collect();
        let best = if self.vectors.len() >= PARALLEL_FROM {
            parts.into_par_iter().fold(none, scan).reduce(none, |left, right| {
                left.into_iter().zip(right).map(|(left, right)| left.with(right)).collect()
            })
        } else {
            parts.into_iter().fold(none(), scan)
        };
        best.into_iter().map(Best::hits).collect()
    }
}

/// The rows with the largest products; of equal ones the first, so that one query has one answer.
struct Best {
    count: usize,
    /// Products below or at which a later row does not come among them any more.
    passed: i32,
    found: Vec<(i32, usize)>,
}

impl Best {
    fn new(count: usize) -> Self {
        Self { count, passed: i32::MIN, found: Vec::new() }
    }

    /// Rows are offered in their order.
    fn offer(&mut self, product: i32, row: usize) {
        if product <= self.passed {
            return;
        }
        self.found.push((product, row));
        if self.found.len() >= 2 * self.count + 64 {
            self.shrink();
        }
    }

    /// Lets go of all that do not come among the best any more.
    fn shrink(&mut self) {
        if self.count < self.found.len() {
            self.found.select_nth_unstable_by(self.count, largest_first);
            self.found.truncate(self.count);
            self.passed = self.found.iter().map(|(product, _)| *product).min().unwrap_or(i32::MAX);
        }
    }

    fn with(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.shrink();
        self
    }

    fn hits(mut self) -> Vec<Hit> {
        self.shrink();
        self.found.sort_unstable_by(largest_first);
        self.found.into_iter().map(|(product, row)| Hit { row, score: cosine(product) }).collect()
    }
}

fn largest_first(left: &(i32, usize), right: &(i32, usize)) -> std::cmp::Ordering {
    right.0.cmp(&left.0).then(left.1.cmp(&right.1))
}
