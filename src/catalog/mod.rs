//! What every child can do: tool records, the difference between two lists of them, the texts by
//! which they are found, and the `SQLite` store that keeps all of it over restarts.

mod diff;
mod signature;
mod store;
pub mod text;

use rmcp::model::{Tool as Definition, ToolAnnotations};

pub use self::{
    diff::{Diff, diff},
    signature::signature,
    store::{CachedServer, Store, StoreError, StoredTool},
};

/// A tool as the catalog keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The server's name in the configuration.
    pub server: String,
    /// Exactly what the server listed.
    pub definition: Definition,
    /// Hash over name, description, schemas and annotations: the tool is the same while this is.
    pub hash: String,
    /// Hash of the text to embed, with its format version: the key of the vector.
    pub text_hash: String,
}

impl Tool {
    /// A record of what `server` listed.
    pub fn new(server: &str, definition: Definition) -> Self {
        let hash = content_hash(&definition);
        let text_hash = text::hash(&text::to_embed(server, &definition));
        Self { server: server.to_owned(), definition, hash, text_hash }
    }

    /// The tool's own name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// `server:tool`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.server, self.definition.name)
    }

    /// The description, empty when there is none.
    pub fn description(&self) -> &str {
        self.definition.description.as_deref().unwrap_or_default()
    }

    /// Whether the server says that the tool may destroy something. Not saying is not a yes.
    pub fn is_destructive(&self) -> bool {
        self.definition.annotations.as_ref().is_some_and(|hints: &ToolAnnotations| {
            hints.destructive_hint == Some(true) && hints.read_only_hint != Some(true)
        })
    }
}

fn content_hash(definition: &Definition) -> String {
    crate::digest::sha256(&[
        &definition.name,
        definition.title.as_deref().unwrap_or_default(),
        definition.description.as_deref().unwrap_or_default(),
        &json(&definition.input_schema),
        &json(&definition.output_schema),
        &json(&definition.annotations),
    ])
}

/// JSON of a part that came from JSON, so that it cannot fail.
fn json(part: &impl serde::Serialize) -> String {
    serde_json::to_string(part).unwrap_or_default()
}
