//! Evidence for fitting the confidence: what the best tool of each query had, in the whole set and
//! in parts of it. People have five servers or fifty, seldom all of a set; and a part without the
//! servers that would do shows what "nothing fits" looks like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::json;

use super::{QueryLine, judge};
use crate::{
    digest::sha256,
    router::{Mode, Router, Scope},
};

/// Shares of the servers that are kept, in percent.
const SHARES: [u32; 4] = [100, 30, 10, 3];

/// Writes a line for each query and part: `features`, whether the best tool is `right`, and whether
/// the query is `possible` there.
pub(super) async fn write(
    file: &Path,
    router: &Router,
    servers: &BTreeSet<String>,
    queries: &[QueryLine],
    mode: Mode,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(fs::File::create(file)?);
    for query in queries {
        let wanted: BTreeSet<String> = query
            .relevant
            .iter()
            .flatten()
            .filter_map(|id| id.split_once(':'))
            .map(|(server, _)| server.to_owned())
            .collect();
        for share in SHARES {
            let others = servers
                .iter()
                .filter(|server| !wanted.contains(*server) && is_kept(server, &query.query, share));
            let without: BTreeSet<String> = others.cloned().collect();
            let with: BTreeSet<String> = without.union(&wanted).cloned().collect();
            let parts =
                if wanted.is_empty() { vec![(without, false)] } else { vec![(with, true), (without, false)] };
            for (part, possible) in parts {
                let count = part.len();
                let route = router.rank(&query.query, &Scope::servers(part), 2, mode).await?;
                let Some(best) = route.best() else { continue };
                let line = json!({
                    "features": best.evidence.features().into_iter().collect::<BTreeMap<_, _>>(),
                    "right": possible && judge(&route, query).hit_at(1),
                    "possible": possible,
                    "share": share,
                    "servers": count,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(out.flush()?)
}

/// The same servers for the same query at each run, other ones for another query.
fn is_kept(server: &str, query: &str, share: u32) -> bool {
    let digest = sha256(&[server, query]);
    u32::from_str_radix(&digest[..8], 16).is_ok_and(|number| number % 100 < share)
}
