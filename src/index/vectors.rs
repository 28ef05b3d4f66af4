//! Vectors in fixed point, row after row: half the memory of floats, and products that are sums of integers, so
//! that every processor and every order of adding gives the same.

use std::sync::Arc;

use super::product;

/// What 1 is in fixed point. A product of two vectors of length 1 stays within 32 bits, and so does each part of its
/// sum (Cauchy and Schwarz); a cosine is off by about 1e-5, a hundred times less than what models differ by.
const ONE: f32 = i16::MAX as f32;

/// Rows that lie together in memory. Adding rows copies at most so many, and a scan is spread over threads by them.
pub(super) const ROWS_TOGETHER: usize = 4096;

/// A vector of length 1 in fixed point, `[dimensions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantized(Box<[i16]>);

impl Quantized {
    /// Rounds a vector of length 1.
    pub fn new(values: &[f32]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "parts of a vector of length 1 are at most 1")]
        Self(values.iter().map(|value| (value * ONE).round() as i16).collect())
    }

    /// A row as it is.
    #[cfg(test)]
    pub(super) fn from_row(row: &[i16]) -> Self {
        Self(row.into())
    }

    /// The parts in fixed point.
    pub fn as_slice(&self) -> &[i16] {
        &self.0
    }

    /// The cosine of both.
    pub fn cosine(&self, other: &Self) -> f32 {
        cosine(product::dot(&self.0, &other.0))
    }
}

/// The cosine of two vectors with this sum of products.
pub(super) fn cosine(product: i32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "as exact as a cosine of floats")]
    let product = product as f32;
    product / (ONE * ONE)
}

/// Vectors of one length, row after row: `[rows, dimensions]`. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub struct Vectors {
    dimensions: usize,
    /// All but the last hold [`ROWS_TOGETHER`].
    parts: Vec<Arc<Vec<i16>>>,
    rows: usize,
}

impl Vectors {
    /// An empty set of vectors of that length.
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, parts: Vec::new(), rows: 0 }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When its length is another.
    pub fn push(&mut self, row: &[i16]) {
        assert_eq!(row.len(), self.dimensions, "vectors of one index have one length");
        if self.rows.is_multiple_of(ROWS_TOGETHER) {
            self.parts.push(Arc::default());
        }
        if let Some(last) = self.parts.last_mut() {
            Arc::make_mut(last).extend_from_slice(row);
        }
        self.rows += 1;
    }

    /// Adds the next rows, [`ROWS_TOGETHER`] of them or, at last, fewer.
    pub(super) fn push_part(&mut self, rows: Vec<i16>) {
        self.rows += rows.len().checked_div(self.dimensions).unwrap_or(0);
        self.parts.push(Arc::new(rows));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Length of each row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// One row.
    pub fn row(&self, at: usize) -> &[i16] {
        let first = at % ROWS_TOGETHER * self.dimensions;
        &self.parts[at / ROWS_TOGETHER][first..first + self.dimensions]
    }

    /// The cosine of a row to a vector.
    pub fn cosine(&self, at: usize, other: &Quantized) -> f32 {
        cosine(product::dot(self.row(at), other.as_slice()))
    }

    /// The cosine of two rows.
    pub(super) fn between(&self, left: usize, right: usize) -> f32 {
        cosine(product::dot(self.row(left), self.row(right)))
    }

    /// The rows in parts of [`ROWS_TOGETHER`], `[rows, dimensions]` each; the last may be shorter.
    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = &[i16]> {
        self.parts.iter().map(|part| part.as_slice())
    }
}
