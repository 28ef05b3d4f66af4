//! A tool as the catalog keeps it.

use std::{
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use rmcp::model::{JsonObject, Tool as Definition, ToolAnnotations};

use super::{Effect, text};

/// A tool of a server. Its definition is kept as packed JSON and read when it is first needed: thousands of tools are
/// known, of which few are ever looked at.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The server's name in the configuration.
    pub server: String,
    name: Box<str>,
    /// The definition as JSON, deflated (RFC 1951): about a third of it. This or the definition is always there.
    packed: OnceLock<Arc<[u8]>>,
    definition: OnceLock<Arc<Definition>>,
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
            name: definition.name.as_ref().into(),
            packed: OnceLock::new(),
            hash: content_hash(&definition),
            text_hash: text::hash(&text::to_embed(server, &definition)),
            definition: OnceLock::from(Arc::new(definition)),
        }
    }

    /// A record as it was stored.
    pub(super) fn stored(
        server: String,
        name: Box<str>,
        packed: &[u8],
        hash: String,
        text_hash: String,
    ) -> Self {
        let packed = OnceLock::from(Arc::from(packed));
        Self { server, name, packed, definition: OnceLock::new(), hash, text_hash }
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
            Arc::new(unpack(self.packed()).unwrap_or_else(|error| {
                tracing::error!(tool = self.id(), "its stored definition cannot be read: {error}");
                Definition::new(self.name.to_string(), "", Arc::new(JsonObject::new()))
            }))
        })
    }

    /// The definition as it is stored.
    pub(super) fn packed(&self) -> &[u8] {
        self.packed.get_or_init(|| {
            self.definition.get().map_or_else(Vec::new, |definition| pack(&json(definition))).into()
        })
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

fn pack(json: &str) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec cannot fail.
    packer.write_all(json.as_bytes()).and_then(|()| packer.finish()).unwrap_or_default()
}

fn unpack(packed: &[u8]) -> serde_json::Result<Definition> {
    let mut json = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut json).map_err(serde_json::Error::io)?;
    serde_json::from_slice(&json)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_back_as_it_was() {
        let definition: Definition = serde_json::from_value(serde_json::json!({
            "name": "a", "title": "Ä", "description": "one", "inputSchema": {"z": 1, "a": {"type": "string"}},
            "annotations": {"readOnlyHint": true},
        }))
        .unwrap();
        let tool = Tool::new("s", definition.clone());
        let packed = tool.packed().to_vec();
        let Tool { server, name, hash, text_hash, .. } = tool;
        let stored = Tool::stored(server, name, &packed, hash, text_hash);
        assert_eq!(stored.definition(), &definition);
        assert_eq!(json(stored.definition()), json(&definition), "in the same order");
    }
}
