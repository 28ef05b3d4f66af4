//! Answers on stdout: JSON for programs, text and tables for people.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

/// The standard output, in one of two forms.
pub struct Output {
    json: bool,
    out: io::Stdout,
}

impl Output {
    /// An output that prints JSON or text.
    pub fn new(json: bool) -> Self {
        Self { json, out: io::stdout() }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one JSON value.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        writeln!(self.out, "{text}")
    }

    /// Prints a line.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.out, "{}", text.as_ref())
    }

    /// Prints text as it is.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Prints a table as wide as the terminal, or as wide as it likes where there is none.
    pub fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().map(Cell::new));
        if io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
            table.set_width(columns.unwrap_or(120));
        }
        for row in rows {
            table.add_row(row.into_iter().map(|text| Cell::new(printable(&text))));
        }
        table.lines().try_for_each(|line| writeln!(self.out, "{}", line.trim_end()))
    }
}

/// Text that comes from a child, without what would steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() && character != '\n' && character != '\t' {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}
