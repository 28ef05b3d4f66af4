//! Two rankings of the same queries side by side, with a paired test: whether the difference could be
//! chance is asked of the differences query by query, which tells far smaller ones than two intervals do.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    QueryLine,
    metrics::{FIGURES, Judged},
    read_lines,
};
use crate::commands::{UsageError, output::Output};

/// Random sign flips of the test.
const FLIPS: usize = 10_000;

/// In the order of [`FIGURES`].
type Figures = [f64; 7];

/// What one query was worth, as a line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    query: String,
    figures: Figures,
}

fn outcomes(queries: &[QueryLine], judged: &[Judged]) -> impl Iterator<Item = Outcome> {
    let possible = queries.iter().zip(judged).filter(|(query, _)| !query.relevant.is_empty());
    possible.map(|(query, judged)| Outcome { query: query.query.clone(), figures: judged.figures() })
}

/// Keeps what each query was worth, for [`print`] of a later run.
pub(super) fn write(file: &Path, queries: &[QueryLine], judged: &[Judged]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(fs::File::create(file)?);
    for outcome in outcomes(queries, judged) {
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    }
    Ok(out.flush()?)
}

/// Prints each figure as it was in `file` and is now.
pub(super) fn print(
    file: &Path,
    queries: &[QueryLine],
    judged: &[Judged],
    out: &mut Output,
) -> anyhow::Result<()> {
    let before: HashMap<String, Figures> =
        read_lines::<Outcome>(file)?.into_iter().map(|outcome| (outcome.query, outcome.figures)).collect();
    let pairs: Vec<[Figures; 2]> =
        outcomes(queries, judged).filter_map(|now| Some([*before.get(&now.query)?, now.figures])).collect();
    if pairs.is_empty() {
        return Err(UsageError(format!("{} has none of these queries", file.display())).into());
    }
    let compared: Vec<(&str, Compared)> =
        FIGURES.iter().enumerate().map(|(at, name)| (*name, Compared::of(at, &pairs))).collect();
    if out.is_json() {
        let named: BTreeMap<_, _> = compared.into_iter().collect();
        return Ok(out.json(&json!({"queries": pairs.len(), "compared": named}))?);
    }
    out.line(format!("{} queries of {}, then and now", pairs.len(), file.display()))?;
    let rows = compared.into_iter().map(|(name, Compared { then, now, p })| {
        vec![
            name.to_owned(),
            format!("{then:.3}"),
            format!("{now:.3}"),
            format!("{:+.3}", now - then),
            format!("{p:.3}"),
        ]
    });
    Ok(out.table(&["", "then", "now", "difference", "p"], rows)?)
}

/// One figure of two rankings.
#[derive(Debug, Serialize)]
struct Compared {
    then: f64,
    now: f64,
    p: f64,
}

impl Compared {
    fn of(at: usize, pairs: &[[Figures; 2]]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let mean = |side: usize| pairs.iter().map(|pair| pair[side][at]).sum::<f64>() / pairs.len() as f64;
        let differences: Vec<f64> = pairs.iter().map(|[then, now]| now[at] - then[at]).collect();
        Self { then: mean(0), now: mean(1), p: chance(&differences) }
    }
}

/// Probability of a mean at least as far from zero if each difference were as likely to have the other
/// sign (paired randomization test, two-sided). The draw is always the same.
fn chance(differences: &[f64]) -> f64 {
    let sum: f64 = differences.iter().sum();
    let moved: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let mut draw = fastrand::Rng::with_seed(1);
    let as_far = (0..FLIPS)
        .filter(|_| {
            let flipped: f64 = moved.iter().map(|value| if draw.bool() { *value } else { -value }).sum();
            flipped.abs() >= sum.abs() - 1e-9
        })
        .count();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let share = (as_far + 1) as f64 / (FLIPS + 1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_that_of_the_signs() {
        assert!((chance(&[0.0; 40]) - 1.0).abs() < 1e-9);
        // Four of four in one direction: both extremes, two of sixteen.
        assert!((chance(&[1.0, 1.0, 1.0, 1.0, 0.0]) - 0.125).abs() < 0.02);
        assert!(chance(&[0.1; 30]) < 0.001);
    }
}
