//! Taking in what servers list.

use std::{collections::HashSet, sync::Arc};

use super::{Failure, Keeper};
use crate::{
    catalog::{Diff, StoreError, Tool},
    child::Listing,
    embed::EmbedError,
    index::{IndexError, Report, library::Listed},
};

/// The hashes of the texts that were embedded, and why no others were, if that is so.
type Embedded = (HashSet<String>, Option<Arc<EmbedError>>);

impl Keeper {
    /// Takes in several requests and shows readers all of their tools at once; each gets its own answer.
    pub(super) fn take_in(&mut self, mut together: Vec<Listed>) {
        if together.is_empty() {
            return;
        }
        let mut stale = self.changed_elsewhere();
        let mut again = HashSet::new();
        let applied: Vec<Result<Diff, StoreError>> = together
            .iter()
            .map(|request| {
                stale |= request.force || request.listings.iter().any(|listing| !self.shows(listing));
                let changes = self.apply(&request.listings, request.force)?;
                if request.force {
                    again.extend(request.listings.iter().flat_map(tools).map(|tool| tool.text_hash));
                }
                stale |= !changes.is_empty();
                Ok(changes)
            })
            .collect();
        let are_asked = together.iter().any(|request| !request.listings.is_empty());
        let shown = if are_asked || stale {
            self.embed_and_show(&mut together, &again, stale)
        } else {
            Ok(Embedded::default())
        };
        for (request, changes) in together.into_iter().zip(applied) {
            let report = changes.map_err(IndexError::from).and_then(|changes| {
                let (embedded, embed_error) = shown.clone()?;
                let of_request = request.listings.iter().flat_map(tools);
                let embedded = of_request.filter(|tool| embedded.contains(&tool.text_hash)).count();
                Ok(Report { changes, embedded, embed_error })
            });
            // Whoever asked may have gone away; the work is done all the same.
            request.reply.send(report).ok();
        }
    }

    /// Writes what servers list.
    fn apply(&self, listings: &[Listing], force: bool) -> Result<Diff, StoreError> {
        let mut changes = Diff::default();
        for listing in listings {
            let fingerprint = self.servers.get(&listing.server).map_or("", |server| &server.fingerprint);
            changes.extend(self.store.apply(listing, fingerprint, force)?);
        }
        Ok(changes)
    }

    /// Embeds what is new, and what is in `again`, and shows it to readers.
    fn embed_and_show(
        &mut self,
        requests: &mut [Listed],
        again: &HashSet<String>,
        stale: bool,
    ) -> Result<Embedded, IndexError> {
        let progress = |done, all| {
            for progress in requests.iter_mut().filter_map(|request| request.progress.as_mut()) {
                progress(done, all);
            }
        };
        let (embedded, embed_error) = match self.embed_missing(again, progress) {
            Ok(embedded) => (embedded, None),
            Err(Failure::Embed(error)) => (HashSet::new(), Some(error)),
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(Failure::Examples(error)) => return Err(error.into()),
        };
        if stale || !embedded.is_empty() {
            match self.publish().and_then(|()| self.settle_examples()) {
                Ok(()) => {}
                Err(Failure::Store(error)) => return Err(error.into()),
                Err(Failure::Examples(error)) => tracing::warn!("examples are not used: {error}"),
                Err(Failure::Embed(error)) => tracing::debug!("published without vectors: {error}"),
            }
        }
        Ok((embedded, embed_error))
    }

    /// Whether the snapshot has exactly the tools of a listing. It may be behind the store, when
    /// another process wrote there.
    fn shows(&self, listing: &Listing) -> bool {
        let snapshot = self.snapshot.load();
        let shown = snapshot.tools_of(&listing.server).map(|tool| &tool.hash);
        let listed = tools(listing).map(|tool| tool.hash);
        snapshot.servers().contains_key(&listing.server) && shown.cloned().eq(listed)
    }
}

fn tools(listing: &Listing) -> impl Iterator<Item = Tool> {
    listing.tools.iter().map(|tool| Tool::new(&listing.server, tool.clone()))
}
