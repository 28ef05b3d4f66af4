//! Evidence for fitting the confidence: what the best tool of each query had, in the whole set and
//! in parts of it. People have five servers or fifty, seldom all of a set. What "nothing fits" looks like
//! is shown twice: without the servers that would do, which is easily told, and without the tools alone,
//! whose servers do much that is near.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use serde::Serialize;
use serde_json::json;

use super::{QueryLine, judge};
use crate::{
    catalog::{may_take_away, text},
    digest::sha256,
    embed::Embedder,
    index::{Quantized, Snapshot},
    router::{Mode, Router, Scope},
};

/// Shares of the servers that are kept, in percent.
const SHARES: [u32; 4] = [100, 30, 10, 3];
/// Cosine of two tools' texts from which on they may do the same.
const ALIKE: f32 = 0.72;

/// Where and by what queries are asked.
pub(super) struct Asked<'a> {
    pub router: &'a Router,
    pub snapshot: Arc<Snapshot>,
    pub embedder: &'a Embedder,
    pub mode: Mode,
}

/// What a query is in a part of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Something does it.
    Possible,
    /// The servers that would do are missing.
    Far,
    /// Only the tools that would do are missing.
    Near,
    /// Nothing does it by its label.
    None,
}

/// Writes a line for each query and part: `features`, whether the best tool is `right`, and the `kind` of the query
/// there.
pub(super) async fn write(file: &Path, asked: Asked<'_>, queries: &[QueryLine]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(fs::File::create(file)?);
    for query in queries {
        let right: BTreeSet<String> = query.relevant.iter().flatten().cloned().collect();
        let alike = asked.like(&right).await?;
        let wanted: BTreeSet<&str> = right.iter().filter_map(|id| Some(id.split_once(':')?.0)).collect();
        // What nothing fits by its label is near to something in the whole, and to little in a part.
        let shares = if right.is_empty() { &SHARES[..1] } else { &SHARES };
        for &share in shares {
            let is_kept = |server: &str| is_kept(server, &query.query, share);
            let (with, without): (Vec<_>, Vec<_>) = asked
                .snapshot
                .servers()
                .keys()
                .filter(|server| wanted.contains(server.as_str()) || is_kept(server))
                .map(|server| (server.clone(), (!wanted.contains(server.as_str())).then(|| server.clone())))
                .unzip();
            // The whole is asked as it is in use.
            let with = if share == 100 { Scope::default() } else { Scope::servers(with) };
            let parts = if right.is_empty() {
                vec![(with.clone(), Kind::None)]
            } else {
                let without = Scope::servers(without.into_iter().flatten());
                vec![(with.clone(), Kind::Possible), (without, Kind::Far)]
            };
            // Where one of several steps is missing, the others still find theirs.
            let near = (query.relevant.len() == 1).then(|| (with.without(alike.clone()), Kind::Near));
            for (part, kind) in parts.into_iter().chain(near) {
                let route = asked.router.rank(&query.query, &part, 2, asked.mode).await?;
                let Some(best) = route.best() else { continue };
                let line = json!({
                    "features": best.evidence.features().into_iter().collect::<BTreeMap<_, _>>(),
                    "right": kind == Kind::Possible && judge(&route, query).hit_at(1),
                    "possible": kind == Kind::Possible,
                    "kind": kind,
                    "share": share,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(out.flush()?)
}

impl Asked<'_> {
    /// These tools, and all that may do the same: of like text, and of the same effect.
    async fn like(&self, ids: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        let mut alike = ids.clone();
        for id in ids {
            let Some(tool) = self.snapshot.find(id) else { continue };
            let own = text::to_embed(&tool.server, tool.definition());
            let vectors = self
                .embedder
                .embed_queries(&[own.as_str()])
                .await
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            let own = Quantized::new(vectors[0].as_slice());
            for place in 0..self.snapshot.len() {
                let other = self.snapshot.tool(place);
                let views = self.snapshot.views(place, &own);
                if views.is_some_and(|views| views.text >= ALIKE)
                    && other.effect() == tool.effect()
                    && may_take_away(other.definition()) == may_take_away(tool.definition())
                {
                    alike.insert(other.id());
                }
            }
        }
        Ok(alike)
    }
}

/// The same servers for the same query at each run, other ones for another query.
fn is_kept(server: &str, query: &str, share: u32) -> bool {
    let digest = sha256(&[server, query]);
    u32::from_str_radix(&digest[..8], 16).is_ok_and(|number| number % 100 < share)
}
