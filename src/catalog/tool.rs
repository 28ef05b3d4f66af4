//! A tool as the catalog keeps it.

use std::sync::{Arc, OnceLock};

use rmcp::model::{JsonObject, Tool as Definition, ToolAnnotations};

use super::{Effect, text};

/// A tool of a server. Its definition is kept as JSON and read when it is first needed: at start
/// thousands of tools are loaded, of which few are ever looked at. Clones share it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The server's name in the configuration.
    pub server: String,
    name: String,
    json: Arc<str>,
    definition: Arc<OnceLock<Definition>>,
    /// Hash over name, description, schemas and annotations: the tool is the same while this is.
    pub hash: String,
    /// Hash of the text to embed, with its format version: the key of the vector.
    pub text_hash: String,
}

impl Tool {
    /// A record of what `server` listed.
    pub fn new(server: &str, definition: Definition) -> Self {
        Self {
            server: server.to_owned(),
            name: definition.name.clone().into_owned(),
            json: json(&definition).into(),
            hash: content_hash(&definition),
            text_hash: text::hash(&text::to_embed(server, &definition)),
            definition: Arc::new(OnceLock::from(definition)),
        }
    }

    /// A record as it was stored.
    pub(super) fn stored(server: String, name: String, json: &str, hash: String, text_hash: String) -> Self {
        Self { server, name, json: json.into(), definition: Arc::default(), hash, text_hash }
    }

    /// The tool's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `server:tool`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.server, self.name)
    }

    /// Exactly what the server listed.
    pub fn definition(&self) -> &Definition {
        self.definition.get_or_init(|| {
            serde_json::from_str(&self.json).unwrap_or_else(|error| {
                tracing::error!(tool = self.id(), "its stored definition cannot be read: {error}");
                Definition::new(self.name.clone(), "", Arc::new(JsonObject::new()))
            })
        })
    }

    /// The definition as JSON.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// The description, empty when there is none.
    pub fn description(&self) -> &str {
        self.definition().description.as_deref().unwrap_or_default()
    }

    /// The schema of its arguments.
    pub fn input_schema(&self) -> &JsonObject {
        &self.definition().input_schema
    }

    /// Whether the server says that doing it twice does no harm: it only reads, or is idempotent.
    pub fn is_repeatable(&self) -> bool {
        self.definition().annotations.as_ref().is_some_and(|hints: &ToolAnnotations| {
            hints.read_only_hint == Some(true) || hints.idempotent_hint == Some(true)
        })
    }

    /// What a call may do.
    pub fn effect(&self) -> Effect {
        Effect::of(self.definition())
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

/// JSON of something that came from JSON, so that it cannot fail.
fn json(part: &impl serde::Serialize) -> String {
    serde_json::to_string(part).unwrap_or_default()
}
