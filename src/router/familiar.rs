//! How near a tool's examples are to one another and to its text. A cosine says little by itself: .5 is near to a tool
//! whose examples have little in common, and far from one whose examples are all alike.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::index::Snapshot;

/// What a tool's own texts have in common, each as a cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiar {
    /// Of two of its examples, on average.
    pub examples: f32,
    /// Of its text and one of its examples, on average.
    pub text: f32,
}

impl Familiar {
    /// Of the tool at a place; none where it has fewer than two examples.
    #[expect(clippy::cast_precision_loss, reason = "a few examples")]
    fn of(snapshot: &Snapshot, place: usize, dimensions: usize) -> Option<Self> {
        let count = snapshot.examples(place).len() as f32;
        if count < 2.0 {
            return None;
        }
        // The index tells cosines: those along each axis are the vector of the text, and the mean of the examples'.
        let (mut length, mut text) = (0.0, 0.0);
        let mut axis = vec![0.0; dimensions];
        for at in 0..dimensions {
            axis[at] = 1.0;
            let along = snapshot.views(place, &axis)?;
            axis[at] = 0.0;
            let mean = along.examples?.mean;
            length += mean * mean;
            text += mean * along.text;
        }
        // In the squared length of the mean each example meets itself as well.
        Some(Self { examples: (count * length - 1.0) / (count - 1.0), text })
    }
}

/// Those of the tools that were ranked, until the catalog changes.
pub(super) struct Familiars(Mutex<Known>);

struct Known {
    /// It is not kept alive by what is known of it.
    catalog: Weak<Snapshot>,
    by_place: HashMap<usize, Option<Familiar>>,
}

impl Familiars {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Known { catalog: Weak::new(), by_place: HashMap::new() }))
    }

    /// That of the tool at a place.
    pub(super) fn of(&self, snapshot: &Arc<Snapshot>, place: usize, dimensions: usize) -> Option<Familiar> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(known.catalog.as_ptr(), Arc::as_ptr(snapshot)) {
            *known = Known { catalog: Arc::downgrade(snapshot), by_place: HashMap::new() };
        }
        *known.by_place.entry(place).or_insert_with(|| Familiar::of(snapshot, place, dimensions))
    }
}
