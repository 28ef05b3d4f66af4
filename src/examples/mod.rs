//! Example tasks: what people say when they need a tool. Where they come from, where they are kept,
//! and which of them are good enough to find a tool by.

mod bound;
mod gate;
mod mask;
mod pack;
pub mod prompt;
mod store;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    bound::thin_out,
    gate::{Doubt, Examined, examine},
    mask::mask,
    pack::{Pack, PackedServer, PackedTool},
    store::{ExampleStore, ExamplesError, Filter, Import},
};

/// Characters of an example; what is longer says more than what the tool is needed for.
pub const MAX_CHARS: usize = 400;

/// Who an example comes from. Each source can be switched off by itself.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Shipped with this program.
    Pack,
    /// Written by the host's model: by sampling, or by the prompt `teach`.
    Host,
    /// Written by a program that `orchestrator teach` ran.
    Command,
    /// A task whose explicit call succeeded here.
    Use,
    /// Given on the command line by the user.
    User,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pack, Self::Host, Self::Command, Self::Use, Self::User];

    /// Its name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Host => "host",
            Self::Command => "command",
            Self::Use => "use",
            Self::User => "user",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|source| source.name() == name).ok_or(())
    }
}

/// What an example is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not looked at yet, or the tool has changed since.
    New,
    /// Its tool is found by it.
    Kept,
    /// Set aside, with a reason.
    Doubtful,
    /// Taken out by the user; remembered, so that the pack does not bring it back.
    Removed,
}

impl State {
    /// Its name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
            Self::Doubtful => "doubtful",
            Self::Removed => "removed",
        }
    }

    fn from_name(name: &str) -> Self {
        [Self::Kept, Self::Doubtful, Self::Removed]
            .into_iter()
            .find(|state| state.name() == name)
            .unwrap_or(Self::New)
    }
}

/// An example that somebody gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExample {
    /// The server's name in the configuration.
    pub server: String,
    /// The tool's own name.
    pub tool: String,
    /// The task, in the words of whoever needs it.
    pub text: String,
    /// Its language, as whoever gave it calls it, where it is known.
    pub language: Option<String>,
}

/// An example as it is kept.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// Number, for people to name it by.
    pub id: i64,
    /// The server's name in the configuration.
    pub server: String,
    /// The tool's own name.
    pub tool: String,
    /// The task.
    pub text: String,
    /// Who gave it.
    pub source: Source,
    /// Its language, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether it is used.
    pub state: State,
    /// Why it is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Content hash of the tool that it was examined against.
    #[serde(skip)]
    pub tool_hash: String,
    /// When it was given, ms since 1970.
    pub added_at: i64,
}

/// A line of an example file, as it is imported and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleLine {
    /// `server:tool`.
    pub tool: String,
    /// The tasks.
    pub tasks: Vec<String>,
    /// Their language, such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl ExampleLine {
    /// Its tasks one by one; none when the tool's name has no server.
    pub fn into_examples(self) -> Option<Vec<NewExample>> {
        let (server, tool) = self.tool.split_once(':').or_else(|| self.tool.split_once("__"))?;
        let example = |text: String| NewExample {
            server: server.to_owned(),
            tool: tool.to_owned(),
            text,
            language: self.language.clone(),
        };
        Some(self.tasks.into_iter().map(example).collect())
    }
}

/// An example as it is kept: on one line, without spaces at its ends, not too long.
pub fn tidy(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_CHARS).collect()
}
