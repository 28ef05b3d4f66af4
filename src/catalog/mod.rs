//! What every child can do: tool records, the difference between two lists of them, the texts by
//! which they are found, and the `SQLite` store that keeps all of it over restarts.

mod diff;
mod effect;
mod signature;
mod store;
pub mod text;
mod tool;

pub use self::{
    diff::{Diff, diff},
    effect::Effect,
    signature::signature,
    store::{CachedServer, Store, StoreError, StoredTool},
    tool::Tool,
};
